"""Bayesian optimisation over all rungs: expected improvement at the last one under a Gaussian process.

Candidates are random points and steps from the best ones, refined twice. What a proposal costs is bounded: the process
is conditioned on a chosen part of a long history, and its kernel is fitted again only when the history has grown by a
tenth, to as much of it as there was then, so that the same history always gives the same kernel.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.special import ndtr

from toprung.tuning.search.cube import Array, Cube
from toprung.tuning.search.gaussian import Kernel, Levels
from toprung.tuning.search.history import History, Score

_MAX_FITTED, _MAX_KNOWN = 150, 250
"""Scores that the kernel is fitted to, and that expectations come from; time grows with their cube."""
_NUM_RANDOM, _NUM_LOCAL, _ROUNDS, _NUM_BASES = 200, 150, 2, 5
_GROWTH = 1.1
_FAR = 20.0
"""In units of `_scaled`: beyond it, scores are alike."""


class GaussianProcess:
    """Proposes by expected improvement. A function of the history: the kernel it keeps is a cache."""

    def __init__(self, cube: Cube, num_levels: int) -> None:
        self._cube = cube
        self._num_levels = num_levels
        self._fitted: tuple[int, Kernel] | None = None

    def propose(self, history: History, points: dict[int, Array], rng: np.random.Generator) -> Array:
        """Candidates (m, d), the most promising first."""
        kernel = self._kernel(history, points)
        chosen = history.sample(_MAX_KNOWN, rng)
        known, levels, scores = _data(chosen, points)
        places = self._places(known)
        expected = kernel.expected(places, levels, scores)
        # each trial at the highest level that it has come to, those without a score at the lowest
        reached = dict.fromkeys(history.running[-_MAX_KNOWN:], 0)
        reached |= {score.number: score.level for score in sorted(chosen, key=lambda score: score.level)}
        tried = self._places(np.array([points[number] for number in reached]))
        deviation = kernel.deviation(tried, np.array(list(reached.values()), dtype=np.intp))
        at_known = expected(places)
        order = np.argsort(at_known, kind="stable")[:_NUM_BASES]
        best, bases = at_known[order[0]], np.nan_to_num(known[order], nan=0.5)

        def loss(candidates: Array) -> Array:
            places = self._places(self._cube.masked(candidates))
            spread = deviation(places)
            gain = (best - expected(places)) / spread
            improvement: Array = spread * (gain * ndtr(gain) + np.exp(-0.5 * gain**2) / math.sqrt(2 * math.pi))
            return -improvement

        candidates = self._cube.uniform(rng, _NUM_RANDOM)
        losses = loss(candidates)
        for _ in range(_ROUNDS):
            keep = np.argsort(losses, kind="stable")[:_NUM_BASES]
            steps = self._steps(np.vstack([bases, candidates[keep]]), rng)
            candidates, losses = np.vstack([candidates[keep], steps]), np.concatenate([losses[keep], loss(steps)])
        return candidates[np.argsort(losses, kind="stable")]

    def _steps(self, bases: Array, rng: np.random.Generator) -> Array:
        """(_NUM_LOCAL, d): steps of all sizes from bases (n, d), along one axis up to all of them."""
        start = bases[rng.integers(len(bases), size=_NUM_LOCAL)]
        moved = rng.random(start.shape) < rng.random((_NUM_LOCAL, 1))
        moved[np.arange(_NUM_LOCAL), rng.integers(self._cube.dim, size=_NUM_LOCAL)] = True
        size = 10 ** rng.uniform(-2.5, -0.5, (_NUM_LOCAL, 1))
        stepped = np.clip(start + size * rng.standard_normal(start.shape), 0, 1)
        other = np.where(self._cube.num_choices > 0, self._cube.uniform(rng, _NUM_LOCAL), stepped)
        return np.where(moved, other, start)

    def _kernel(self, history: History, points: dict[int, Array]) -> Kernel:
        count = _fitted_at(len(history.scores))
        if self._fitted is None or self._fitted[0] != count:
            chosen = history.first(count).sample(_MAX_FITTED, np.random.default_rng(count))
            known, levels, scores = _data(chosen, points)
            places, axes = self._cube.embed(known)
            self._fitted = count, Kernel.fit(places, levels, scores, axes, self._num_levels)
        return self._fitted[1]

    def _places(self, points: Array) -> Array:
        return self._cube.embed(points)[0]


def _data(chosen: list[Score], points: dict[int, Array]) -> tuple[Array, Levels, Array]:
    """Points (n, d), levels (n,) and scaled scores (n,)."""
    levels = np.array([score.level for score in chosen], dtype=np.intp)
    values = np.array([score.value for score in chosen])
    return np.array([points[score.number] for score in chosen]), levels, _scaled(values, levels)


def _fitted_at(count: int) -> int:
    """The last size of a history, up to `count`, at which a kernel is fitted."""
    fitted, following = 1, 2
    while following <= count:
        fitted, following = following, max(following + 5, int(following * _GROWTH))
    return fitted


def _scaled(values: Array, levels: Levels) -> Array:
    """Scores as the model sees them: each rung around its median, in units of the way to its best tenth.

    What is far off is drawn together logarithmically: how bad a bad configuration is tells nothing about good ones, and
    would be most of the variance. What can't be trained is as bad as it gets.
    """
    scaled = np.empty_like(values)
    for level in np.unique(levels):
        at = levels == level
        finite = values[at][np.isfinite(values[at])]
        median, tenth, best = np.quantile(finite, [0.5, 0.1, 0.0]) if finite.size else (0.0, 0.0, 0.0)
        unit = (median - tenth) or (median - best) or 1.0
        off = np.clip((values[at] - median) / unit, -_FAR, _FAR)
        scaled[at] = np.where(off > 0, np.log1p(np.abs(off)), np.maximum(off, -2 - np.log1p(np.maximum(-off - 2, 0))))
    return scaled
