"""Trials leave nodes that are about to go: a spot instance with notice, a machine that is drained for maintenance.

Ray starts nothing new on such a node, and leaves what runs there alone until it is gone. A trial moves once it has
saved a checkpoint, as it loses nothing then, or when time is running out: its next attempt begins elsewhere before the
node is gone. Where nobody says when that is, a trial that saves nothing runs to its end.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

from toprung.tuning.records import CheckpointRef
from toprung.tuning.run.ledger import Ledger

MARGIN_S = 15.0
"""So long before the end of a node who has saved nothing since the notice moves: AWS gives two minutes, GCP 30 s."""


class Departures:
    """Says who is to move.

    Args:
        ledger: of the sweep.
        clock: Unix time in seconds.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._clock = clock
        self._noticed: dict[tuple[int, int], CheckpointRef | None] = {}
        """By trial and attempt, the last checkpoint when the notice came."""
        self._told: set[str] = set()

    def due(
        self, where: Mapping[int, frozenset[str]], leaving: Mapping[str, float], names: Callable[[str], str]
    ) -> Iterator[tuple[int, str]]:
        """The trials that move now, and why.

        Args:
            where: the nodes of each running trial.
            leaving: nodes that go, and when each may be gone, in Unix time.
            names: of nodes, by id.
        """
        for number, nodes in where.items():
            going = sorted(nodes & leaving.keys(), key=lambda node: leaving[node])
            if not going:
                continue
            trial = self._ledger[number]
            last = self._noticed.setdefault((number, trial.attempt), trial.resume_from)
            name = names(going[0])
            if going[0] not in self._told:
                self._told.add(going[0])
                self._ledger.warn(f"node {name} is going away: its trials move as soon as they have saved a checkpoint")
            if trial.resume_from != last or self._clock() > leaving[going[0]] - MARGIN_S:
                step = 0 if trial.resume_from is None else trial.resume_from.step
                yield number, f"its node {name} is going away: goes on elsewhere from step {step}"
