"""The cluster's nodes, and which of them take new trials. Light: the service's replicas load this module.

Which nodes are set aside is kept in the cluster's memory, as it is about nodes: their ids end with the cluster, and
with each Ray that is started anew on a machine.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import ray
from ray._private.state import state  # Ray says nowhere else which nodes are being drained
from ray.experimental.internal_kv import _internal_kv_del, _internal_kv_get, _internal_kv_list, _internal_kv_put

from toprung.tuning.records import SetAside

HEAD = "node:__internal_head__"
"""Resource that only the head has."""
NODE_ID = "ray.io/node-id"
"""Ray's label of each node."""
_ASIDE = "toprung-set-aside-"


@dataclass(frozen=True)
class Node:
    """One that is alive."""

    id: str
    name: str
    """Its host name."""
    has: Mapping[str, float]
    """By Ray's names."""
    labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_head(self) -> bool:
        return HEAD in self.has


@dataclass(frozen=True)
class Cluster:
    """The nodes, as they were at one time."""

    there: Sequence[Node] = ()
    out: frozenset[str] = frozenset()
    """The ids of those that take no new trials, as they leave or were set aside."""

    @property
    def usable(self) -> list[Node]:
        """Those that take new trials."""
        return [node for node in self.there if node.id not in self.out]


def look() -> Cluster:
    """The nodes as they are now."""
    return Cluster(alive(), out_of_use())


class Lookout:
    """Looks at the nodes for whoever asks, at most so often.

    Args:
        every_s: how old an answer may be.
        look: an argument for tests without a cluster.
    """

    def __init__(self, every_s: float = 1.0, look: Callable[[], Cluster] = look) -> None:
        self._every_s = every_s
        self._look = look
        self._seen = Cluster()
        self._at = float("-inf")

    def now(self) -> Cluster:
        """The nodes, about now."""
        if time.monotonic() - self._at > self._every_s:
            self._at = time.monotonic()
            self._seen = self._look()
        return self._seen


def alive() -> list[Node]:
    """All of them."""
    return [
        Node(row["NodeID"], row["NodeManagerHostname"], row["Resources"], row["Labels"])
        for row in ray.nodes()
        if row["Alive"]
    ]


def usable() -> list[Node]:
    """Those that take new trials."""
    return look().usable


def out_of_use() -> frozenset[str]:
    """The ids of nodes that take none, as they leave or were set aside."""
    return frozenset(leaving()) | {record.node_id for record in set_aside()}


def leaving() -> dict[str, float]:
    """The nodes that are being drained: Ray starts nothing new there. By id, the time at which each may be gone.

    In seconds of Unix time; infinity where nobody said when.
    """
    return {node: at_ms / 1000 if at_ms else math.inf for node, at_ms in state.get_draining_nodes().items()}


def set_aside() -> list[SetAside]:
    """The nodes that are there and get no new trials, as others failed on them; the first comes first."""
    kept = [_internal_kv_get(key) for key in _internal_kv_list(_ASIDE)]
    records = [SetAside.model_validate_json(value) for value in kept if value is not None]
    if records:
        there = {node.id for node in alive()}
        records = [record for record in records if record.node_id in there]
    return sorted(records, key=lambda record: record.at)


def put_aside(record: SetAside) -> None:
    """From now on the node gets no new trials."""
    _internal_kv_put(_ASIDE + record.node_id, record.model_dump_json())


def take_back(node_id: str) -> None:
    """The node gets trials again."""
    _internal_kv_del(_ASIDE + node_id)
