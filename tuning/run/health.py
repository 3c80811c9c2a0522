"""Which node is sick: three trials in a row failed on it that would not have failed elsewhere.

Plain Python. A sweep's code may fail everywhere, and a configuration may be at fault for a failure or two, so a node is
suspected only while no attempt fails on other nodes, and where more trials have come further there than on it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from toprung.tuning.records import FailureKind

IN_A_ROW = 3
"""Trials, not attempts: one that fails again and again may do so of itself."""
_INNOCENT = {kind for kind in FailureKind if kind.lost} | {
    FailureKind.GPU_OOM,
    FailureKind.HOST_OOM,
    FailureKind.TIMEOUT,
}
"""What a node that is well does to trials, too: it goes, or is smaller or slower than others."""


@dataclass(frozen=True)
class _Failed:
    number: int
    step: int
    at: int
    """In the order of what happened."""


class Health:
    """What happened on which node."""

    def __init__(self) -> None:
        self.where: Mapping[int, frozenset[str]] = {}
        """The nodes of each trial that has a worker."""
        self._count = 0
        self._reports: defaultdict[str, dict[int, tuple[int, int]]] = defaultdict(dict)
        """By node and trial, its last result: when, and of which step."""
        self._row: defaultdict[str, list[_Failed]] = defaultdict(list)
        """By node, the failures since an attempt ended well there."""

    def reported(self, number: int, step: int) -> None:
        """A trial has come so far."""
        self._count += 1
        for node in self.where.get(number, ()):
            self._reports[node][number] = (self._count, step)

    def went_well(self, number: int) -> None:
        """An attempt has ended, and not of an error."""
        for node in self.where.get(number, ()):
            self._row[node].clear()

    def failed(
        self, number: int, step: int, kind: FailureKind = FailureKind.USER_ERROR
    ) -> tuple[str, list[int]] | None:
        """An attempt has failed at a step. Returns the node that is to be set aside for it, and the trials.

        Not where the trial had several nodes: nobody knows which one was at fault.
        """
        if kind in _INNOCENT:
            return None
        self._count += 1
        nodes = self.where.get(number, frozenset())
        if len(nodes) != 1:
            return None
        (node,) = nodes
        self._row[node].append(_Failed(number, step, self._count))
        row = self._last_of(node)
        if row is None:
            return None
        since, furthest = row[0].at, max(failed.step for failed in row)
        others = self._reports.keys() | self._row.keys()
        if any(failed.at > since for other in others - {node} for failed in self._row[other]):
            return None
        elsewhere = {n for other in others - {node} for n in self._come_further(other, since, furthest)}
        if len(elsewhere) <= len(self._come_further(node, since, furthest)):
            return None
        self._row[node].clear()
        return node, sorted({failed.number for failed in row})

    def _last_of(self, node: str) -> list[_Failed] | None:
        """The last failures in a row on a node, of as many trials as it takes."""
        row = self._row[node]
        for start in range(len(row) - 1, -1, -1):
            if len({failed.number for failed in row[start:]}) == IN_A_ROW:
                return row[start:]
        return None

    def _come_further(self, node: str, since: int, step: int) -> set[int]:
        return {number for number, (at, come) in self._reports[node].items() if at > since and come > step}
