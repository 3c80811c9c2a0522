"""A check-up of a live cluster: each node is asked by an actor that takes no resources.

Every node has a deadline of its own: one that hangs is a finding, and holds up nobody else.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import ray
from ray import cloudpickle
from ray._private.services import get_webui_url_from_internal_kv
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from toprung.cluster import examination
from toprung.cluster.diagnosis import Head, diagnose
from toprung.cluster.records import CheckUp, Node, NodeReport, NodeState, Vitals

DEADLINE_S = 60.0
"""For all that one node is asked: on a busy machine the start of a process alone takes tens of seconds."""
_AT_ONCE = 32
"""Nodes that are asked at the same time: each takes a thread here."""
_ROUND_TRIPS = 5
_NEIGHBOURS = 3
"""How many others each node tries to reach, besides the head: all of them would be a square of connections."""
_KNOCK_S = 5.0
_HEAD = "head"


def check_up(nodes: Sequence[Node], *, home: Path, shared: Sequence[str], deadline_s: float = DEADLINE_S) -> CheckUp:
    """Asks all nodes, and says what is wrong. Called on the head.

    Args:
        nodes: lost ones too.
        home: the service's folder.
        shared: folders that all nodes must have in common, or URIs of such in a bucket.
        deadline_s: for each node.
    """
    started = time.monotonic()
    rows = {row["NodeID"]: row for row in ray.nodes()}
    there = [node for node in nodes if node.state in (NodeState.ALIVE, NodeState.ASIDE) and node.id in rows]
    mark = f".toprung-doctor-{secrets.token_hex(8)}"
    broken = {place: _prepare(examination.inside(place, mark)) for place in shared}
    visits = [_Visit(node, rows[node.id], _peers(node, there, rows), home, deadline_s) for node in there]
    try:
        with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="doctor") as pool:
            reports = list(pool.map(lambda visit: visit.report(mark, broken), visits))
    finally:
        for place in shared:
            examination.remove(examination.inside(place, mark))
    head = Head(lets_strangers_in=_lets_strangers_in(), dashboard=get_webui_url_from_internal_kv())
    seen = {report.node.id for report in reports}
    reports += [NodeReport(node=node) for node in nodes if node.id not in seen]
    return CheckUp(nodes=reports, findings=list(diagnose(reports, head)), took_s=time.monotonic() - started)


class _Visit:
    """One node's."""

    def __init__(
        self, node: Node, row: Mapping[str, Any], peers: dict[str, list[int]], home: Path, deadline_s: float
    ) -> None:
        self._node, self._peers, self._deadline_s = node, peers, deadline_s
        self._session = str(Path(row["RayletSocketName"]).parents[1])
        self._folders = [str(home)] if node.is_head else []
        self._ends_at = float("inf")

    def report(self, mark: str, broken: Mapping[str, str | None]) -> NodeReport:
        """What the node says; never raises for what is wrong there.

        Args:
            mark: name of the folder in which the head has left its word.
            broken: by shared place: why the head could not; None: it did.
        """
        started = time.monotonic()
        self._ends_at = started + self._deadline_s
        self._actor = _examiner_on(self._node)
        found: dict[str, Any] = {}
        try:
            found["vitals"] = Vitals.model_validate(self._ask("vitals", self._session, [*self._folders, *broken]))
            tries = [self._clock() for _ in range(_ROUND_TRIPS)]
            found["clock_ahead_s"], found["clock_error_s"] = min(tries, key=lambda tried: tried[1])
            found["storage"] = {
                place: why or self._exchange(examination.inside(place, mark)) for place, why in broken.items()
            }
            found["unreachable"] = self._ask("unreachable", self._peers)
        except GetTimeoutError:
            found["trouble"] = f"no answer in {self._deadline_s:g} s"
        except RayError as error:
            found["trouble"] = _brief(error)
        finally:
            ray.kill(self._actor)
        return NodeReport(node=self._node, took_s=time.monotonic() - started, **found)

    def _ask(self, question: str, *args: Any) -> Any:
        answer = getattr(self._actor, question).remote(*args)
        return ray.get(answer, timeout=max(0.0, self._ends_at - time.monotonic()))

    def _clock(self) -> tuple[float, float]:
        """How far the node's clock is ahead of ours, and by how much that may be wrong, in seconds."""
        before, asked_at = time.time(), time.monotonic()
        theirs = self._ask("clock")
        half_s = (time.monotonic() - asked_at) / 2
        return theirs - (before + half_s), half_s

    def _exchange(self, place: str) -> str | None:
        """What is wrong with a folder that the node should share with the head."""
        wrong: str | None = self._ask("exchange", place, _HEAD, self._node.id)
        if wrong is not None:
            return wrong
        try:
            seen = examination.has(place, self._node.id)
        except examination.FAULTS:
            seen = False
        return None if seen else "what is written there does not come to the head"


def _examiner_on(node: Node) -> Any:
    cloudpickle.register_pickle_by_value(examination)  # the node's Toprung may be another, or not there
    where = NodeAffinitySchedulingStrategy(node.id, soft=False)
    return ray.remote(examination.Examiner).options(num_cpus=0, max_restarts=0, scheduling_strategy=where).remote()


def _peers(node: Node, nodes: Sequence[Node], rows: Mapping[str, Mapping[str, Any]]) -> dict[str, list[int]]:
    """By address: the ports of others that a node must reach, of Ray's manager and of its object store."""
    at = nodes.index(node)
    around = [*nodes[at + 1 :], *nodes[:at]]
    chosen = dict.fromkeys([*(peer.id for peer in around if peer.is_head), *(peer.id for peer in around[:_NEIGHBOURS])])
    return {
        rows[peer]["NodeManagerAddress"]: [rows[peer]["NodeManagerPort"], rows[peer]["ObjectManagerPort"]]
        for peer in chosen
    }


def _prepare(place: str) -> str | None:
    """Makes a folder with the head's word in it; what went wrong, None: nothing."""
    try:
        examination.make(place)
        examination.write(place, _HEAD)
    except examination.FAULTS as error:
        return f"it can't be written: {examination.reason(error)}"
    return None


def _lets_strangers_in() -> bool:
    """Whether Ray's GCS answers who has no token: whoever reaches it could run code on every node."""
    address = ray.get_runtime_context().gcs_address
    with grpc.insecure_channel(address) as channel:
        knock = channel.unary_unary("/ray.rpc.NodeInfoGcsService/CheckAlive")
        try:
            knock(b"", timeout=_KNOCK_S)
        except grpc.RpcError:
            return False
    return True


def _brief(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__
