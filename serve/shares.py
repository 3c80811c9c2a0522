"""How many trials each running sweep may have at once: weighted max-min shares of what is scarcest.

Places are given out one by one, each to the sweep that has least of its dominant resource, by its weight (dominant
resource fairness: Ghodsi et al., NSDI 2011; with one kind of resource it is weighted max-min fairness). A resource
dominates where a sweep needs the largest part of all there is of it: GPUs, where trials use them and they are few.
Higher priorities have what they want before lower ones get more than one trial each. Which node a trial would have is
thought through, too: one that needs less goes where nobody else needs more.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

_ROUNDING = 1e-6


@dataclass(frozen=True, slots=True)
class Claim:
    """A running sweep's wish for places."""

    sweep_id: str
    bundle: tuple[tuple[str, float], ...]
    """What one trial needs, by Ray's names."""
    most: int
    """Trials that it could have at once."""
    priority: int = 0
    weight: float = 1.0
    owner: str | None = None
    places: int = 1
    """How many times a trial needs its bundle, on one node or several: once for each of its workers."""


@dataclass(frozen=True, slots=True)
class Limit:
    """What the sweeps of one owner may have, together."""

    trials: float = math.inf
    gpus: float = math.inf


def shares(
    claims: Sequence[Claim], nodes: Sequence[Mapping[str, float]], limits: Mapping[str, Limit] = MappingProxyType({})
) -> dict[str, int]:
    """The share of each sweep: at least 1 each, as far as there is room.

    Args:
        claims: in the order in which sweeps are served where there is too little for one trial each.
        nodes: what each node has, by Ray's names.
        limits: by owner.

    Returns:
        By sweep. 0: those before it need all there is. 1 also where no node could hold a trial: it waits for one.
    """
    cluster = _Cluster(claims, nodes, limits)
    given = dict.fromkeys((claim.sweep_id for claim in claims), 0)
    for claim in claims:  # the first trial of each, whatever its priority
        if _wants_more(claim, 0) and cluster.place(claim):
            given[claim.sweep_id] = 1
    for group in _by_priority(claims):
        open_claims = [claim for claim in group if _wants_more(claim, given[claim.sweep_id])]
        while open_claims:
            poorest = min(open_claims, key=lambda claim: cluster.part(claim) * given[claim.sweep_id] / claim.weight)
            placed = cluster.place(poorest)
            given[poorest.sweep_id] += placed
            if not placed or not _wants_more(poorest, given[poorest.sweep_id]):
                open_claims.remove(poorest)
    for claim in claims:
        if not given[claim.sweep_id] and not _Cluster([claim], nodes, {}).place(claim):
            given[claim.sweep_id] = 1
    return given


def _by_priority(claims: Sequence[Claim]) -> Iterator[list[Claim]]:
    for priority in sorted({claim.priority for claim in claims}, reverse=True):
        yield [claim for claim in claims if claim.priority == priority]


def _wants_more(claim: Claim, count: int) -> bool:
    return count < claim.most


class _Cluster:
    """The nodes, as they fill."""

    def __init__(
        self, claims: Sequence[Claim], nodes: Sequence[Mapping[str, float]], limits: Mapping[str, Limit]
    ) -> None:
        self._left = {owner: [limit.trials, limit.gpus] for owner, limit in limits.items()}
        self._nodes = [_Node(node) for node in nodes]
        self._wanted = {name for claim in claims for name, _ in claim.bundle}
        self._open: dict[tuple[tuple[tuple[str, float], ...], int], list[_Node]] = {}
        """By bundle and places: the nodes that may have room, best last. One that has none will have none again."""
        self._total: dict[str, float] = {}
        for node in nodes:
            for name, amount in node.items():
                self._total[name] = self._total.get(name, 0.0) + amount

    def part(self, claim: Claim) -> float:
        """The part of its dominant resource that one trial takes of the whole cluster."""
        parts = [amount * claim.places / self._total[name] for name, amount in claim.bundle if self._total.get(name)]
        return max(parts, default=1.0)

    def place(self, claim: Claim) -> bool:
        """Puts a trial on a node that has room, best one that has little else.

        False where none has, or its owner has enough.
        """
        left = self._left.get(claim.owner or "", [math.inf, math.inf])
        gpus = dict(claim.bundle).get("GPU", 0.0) * claim.places
        if left[0] < 1 or left[1] < gpus - _ROUNDING:
            return False
        kind = (claim.bundle, claim.places)
        if kind not in self._open:
            others_want = self._wanted - {name for name, _ in claim.bundle}
            best_first = sorted(self._nodes, key=lambda node: len(node.kinds & others_want))
            self._open[kind] = best_first[::-1]
        nodes = self._open[kind]
        taken: list[_Node] = []
        while nodes and len(taken) < claim.places:
            if nodes[-1].take(claim.bundle):
                taken.append(nodes[-1])
            else:
                nodes.pop()
        if len(taken) < claim.places:
            for node in taken:
                node.give_back(claim.bundle)
            return False
        left[0] -= 1
        left[1] -= gpus
        return True


class _Node:
    def __init__(self, has: Mapping[str, float]) -> None:
        self.kinds = frozenset(name for name, amount in has.items() if amount)
        self._free = {name: amount for name, amount in has.items() if name != "GPU"}
        self._gpus = [1.0] * int(has.get("GPU", 0))

    def take(self, bundle: Sequence[tuple[str, float]]) -> bool:
        """Makes room for a trial; False, and nothing changes, where there is none."""
        gpus = dict(bundle).get("GPU", 0.0)
        devices = self._devices(gpus)
        others = [(name, amount) for name, amount in bundle if name != "GPU"]
        if devices is None or any(self._free.get(name, 0.0) < amount - _ROUNDING for name, amount in others):
            return False
        for name, amount in others:
            self._free[name] -= amount
        for device in devices:
            self._gpus[device] -= min(gpus, 1.0)
        return True

    def give_back(self, bundle: Sequence[tuple[str, float]]) -> None:
        """Undoes `take`, for whole GPUs or none: a trial that shares one has one place."""
        for name, amount in bundle:
            if name != "GPU":
                self._free[name] += amount
        full = [device for device, free in enumerate(self._gpus) if free < _ROUNDING]
        for device in full[: int(dict(bundle).get("GPU", 0.0))]:
            self._gpus[device] = 1.0

    def _devices(self, gpus: float) -> list[int] | None:
        """Which GPUs a trial would have: parts of one, the fullest that has room, or whole ones."""
        room = [i for i, free in enumerate(self._gpus) if free >= min(gpus, 1.0) - _ROUNDING]
        if gpus == 0:
            return []
        if gpus < 1:
            return [min(room, key=lambda i: self._gpus[i])] if room else None
        return room[: int(gpus)] if len(room) >= gpus else None
