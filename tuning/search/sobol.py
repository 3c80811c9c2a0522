"""Quasi-random points: they fill a space more evenly than random ones.

Sobol's sequence with Owen's scrambling, as SciPy has it and Optuna's QMCSampler uses it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from toprung.tuning.search.cube import Array

_SKIP = 2**20
"""Where the replacements of points that don't fit begin; SciPy's sequence has 2^30."""


class Sobol:
    """One scrambled sequence in the unit cube (d,)."""

    def __init__(self, dim: int, seed: int) -> None:
        self._dim = dim
        self._seed = seed
        self._engine = self._fresh()
        self._next = 0

    def at(self, index: int) -> Array:
        """Point `index` of the sequence, (1, d)."""
        if index < self._next:
            self._engine, self._next = self._fresh(), 0
        if index > self._next:
            self._engine.fast_forward(index - self._next)
        self._next = index + 1
        point: Array = self._engine.random(1)
        return point

    def candidates(self, number: int) -> Iterator[Array]:
        """Point `number`, then others that no number has as its first."""
        yield self.at(number)
        for index in range(_SKIP):
            yield Sobol(self._dim, self._seed + 1 + index).at(number)

    def _fresh(self) -> Any:
        from scipy.stats import qmc  # noqa: PLC0415  takes a second to load, and few sweeps use it

        return qmc.Sobol(self._dim, scramble=True, rng=self._seed)
