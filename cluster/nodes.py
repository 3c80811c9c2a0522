"""The nodes of the cluster that this process is connected to, as Ray keeps its books."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray
from ray._private import state  # Ray has no public call for this that works without its dashboard

from toprung.cluster.records import Node, NodeState
from toprung.tuning.run.nodes import HEAD, leaving, set_aside

_ACCELERATOR = "accelerator_type:"
_LOST = {2: "it died", 3: "it was preempted"}
"""Ray's reasons (`NodeDeathInfo.Reason`) why a node is gone against its will; one that was idle is not lost."""


def nodes(*, runners: tuple[str, ...]) -> list[Node]:
    """Those that are there, the head first, and after them those that were lost.

    Args:
        runners: what the names of actors that own trials begin with.
    """
    rows = ray.nodes()
    alive = [row for row in rows if row["Alive"]]
    there = {row["NodeManagerAddress"] for row in alive}
    free, trials = state.available_resources_per_node(), _trials(runners)
    going, aside = leaving(), {record.node_id: record.reason for record in set_aside()}
    lost = {
        row["NodeManagerAddress"]: row
        for row in rows
        if not row["Alive"] and row["DeathReason"] in _LOST and row["NodeManagerAddress"] not in there
    }
    found = []
    for row in alive:
        node = _node(row, free.get(row["NodeID"], {}), len(trials.get(row["NodeID"], ())))
        if node.id in aside:
            node = node.model_copy(update={"state": NodeState.ASIDE, "reason": aside[node.id]})
        elif node.id in going:
            node = node.model_copy(update={"state": NodeState.LEAVING, "reason": "it is being drained"})
        found.append(node)
    found.sort(key=lambda node: (not node.is_head, node.name, node.id))
    return found + [_lost(row) for _, row in sorted(lost.items())]


def _node(row: Mapping[str, Any], free: Mapping[str, float], num_trials: int) -> Node:
    has = row["Resources"]
    return Node(
        id=row["NodeID"],
        name=row["NodeManagerHostname"],
        address=row["NodeManagerAddress"],
        is_head=HEAD in has,
        state=NodeState.ALIVE,
        cpus=has.get("CPU", 0.0),
        cpus_used=max(0.0, has.get("CPU", 0.0) - free.get("CPU", 0.0)),
        gpus=has.get("GPU", 0.0),
        gpus_used=max(0.0, has.get("GPU", 0.0) - free.get("GPU", 0.0)),
        gpu_type=next((name.removeprefix(_ACCELERATOR) for name in has if name.startswith(_ACCELERATOR)), None),
        memory_bytes=int(has.get("memory", 0)),
        object_store_bytes=int(has.get("object_store_memory", 0)),
        num_trials=num_trials,
    )


def _lost(row: Mapping[str, Any]) -> Node:
    said = str(row["DeathReasonMessage"] or "").strip()
    return Node(
        id=row["NodeID"],
        name=row["NodeManagerHostname"],
        address=row["NodeManagerAddress"],
        is_head=False,
        state=NodeState.LOST,
        reason=f"{_LOST[row['DeathReason']]}: {said}" if said else _LOST[row["DeathReason"]],
    )


def _trials(runners: tuple[str, ...]) -> dict[str, set[str]]:
    """By node: the trials with a worker there, by the id of their first actor.

    A trial's actor is owned by its sweep's runner, the further workers of a trial by that actor.
    """
    actors = {_at(actor["Address"]): actor for actor in state.actors(actor_state_name="ALIVE").values()}
    found: dict[str, set[str]] = {}
    for actor in actors.values():
        trial, owner = actor, actors.get(_at(actor["OwnerAddress"]))
        while owner is not None and not owner["IsDetached"]:
            trial, owner = owner, actors.get(_at(owner["OwnerAddress"]))
        if owner is not None and owner is not trial and owner["Name"].startswith(runners) and not trial["IsDetached"]:
            found.setdefault(actor["Address"]["NodeID"], set()).add(trial["ActorID"])
    return found


def _at(address: Mapping[str, Any]) -> tuple[str, str, int]:
    return address["NodeID"], address["IPAddress"], address["Port"]
