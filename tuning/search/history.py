"""What is known of a sweep's trials, each at its own fidelity."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

END = 2**62
"""The level of trials that are over, where no rungs compare them before."""


class Score(NamedTuple):
    """What a trial reached; `level` is the place in `History.levels`."""

    number: int
    level: int
    value: float


class History:
    """Scores (lower is better) by level: the step of a rung, or `END`. Scores of different levels are never mixed.
    Trials are known by their number; those of earlier sweeps have negative ones.

    Args:
        levels: steps at which trials are compared, rising; the last is that of a full training.

    Attributes:
        scores: in the order in which they came; of two for the same trial and level the later one holds.
    """

    def __init__(self, levels: Sequence[int]) -> None:
        self.levels = tuple(levels) or (END,)
        self._scores: dict[int, dict[int, float]] = {level: {} for level in self.levels}
        self._ranked: dict[int, list[tuple[float, int]]] = {level: [] for level in self.levels}
        self._best: dict[int, float] = {}
        self._unknown: dict[int, None] = {}
        self.scores: list[Score] = []

    def open(self, number: int) -> None:
        """A trial was proposed."""
        self._unknown[number] = None

    def observe(self, number: int, step: int, score: float) -> None:
        self._best[number] = min(score, self._best.get(number, math.inf))
        if step in self._scores:
            self._place(number, step, score)

    def complete(self, number: int) -> None:
        """The trial ended by itself: its best is final, also at the levels that it never came to."""
        for level in self.levels:
            if number in self._best:
                self._place(number, level, self._best[number])
        self.forget(number)

    def fail(self, number: int) -> None:
        """The trial can't be trained: worse than any that can, at each level."""
        for level in self.levels:
            if number in self._scores[level]:
                ranked = self._ranked[level]
                del ranked[bisect.bisect_left(ranked, (self._scores[level].pop(number), number))]
            self._place(number, level, math.inf)

    def forget(self, number: int) -> None:
        """The trial ended for a reason that says nothing about its configuration; what it reached stays."""
        self._unknown.pop(number, None)

    def num_finite(self, level: int) -> int:
        """How many trials have a score there that can be compared."""
        return bisect.bisect_left(self._ranked[level], (math.inf, -math.inf))

    def highest(self, min_count: int) -> int | None:
        """The highest level with so many scores (BOHB's rule); None where no level has them."""
        return next((level for level in reversed(self.levels) if self.num_finite(level) >= min_count), None)

    def standing(self, number: int) -> tuple[int, float] | None:
        """The highest level that a trial has reached, and its score there; None where nothing is known."""
        found = (level for level in reversed(self.levels) if number in self._scores[level])
        level = next(found, None)
        return None if level is None else (level, self._scores[level][number])

    @property
    def running(self) -> list[int]:
        """Trials of which nothing is known yet."""
        return list(self._unknown)

    def split(
        self, level: int, num_good: int, max_others: int, rng: np.random.Generator
    ) -> tuple[list[int], list[int]]:
        """The best trials of a level, and the others: all of them, or as many as `max_others` drawn at random.

        Trials that never came so far are not among the others: a model then tries again where everything was stopped
        early. Counting them made it worse, by a third over the problems of benchmarks/problems.
        """
        ranked = self._ranked[level]
        places: Sequence[int] = range(num_good, len(ranked))
        if len(places) > max_others:
            places = np.sort(rng.choice(places, max_others, replace=False)).tolist()
        return [number for _, number in ranked[:num_good]], [ranked[place][1] for place in places]

    def sample(self, count: int, rng: np.random.Generator) -> list[Score]:
        """At most `count` scores: the best of the highest levels as one half, any of the others."""
        sizes = [len(self._ranked[level]) for level in reversed(self.levels)]
        ends, total = np.cumsum(sizes), sum(sizes)
        places = np.arange(min(total, count))
        if total > count:
            places[count // 2 :] = np.sort(rng.choice(total - count // 2, count - count // 2, False)) + count // 2
        chosen = []
        for place, back in zip(places.tolist(), np.searchsorted(ends, places, side="right").tolist(), strict=True):
            level = len(self.levels) - 1 - back
            value, number = self._ranked[self.levels[level]][place - (int(ends[back]) - sizes[back])]
            chosen.append(Score(number, level, value))
        return chosen

    def first(self, count: int) -> History:
        """The history as it was after so many scores."""
        past = History(self.levels)
        for (number, level), value in {(s.number, s.level): s.value for s in self.scores[:count]}.items():
            past._place(number, self.levels[level], value)
        return past

    def _place(self, number: int, level: int, score: float) -> None:
        if number in self._scores[level]:  # a step that comes again after a restart
            return
        self._scores[level][number] = score
        bisect.insort(self._ranked[level], (score, number))
        self.scores.append(Score(number, self.levels.index(level), score))
        self.forget(number)
