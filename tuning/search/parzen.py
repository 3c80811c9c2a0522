"""A Parzen estimator over points of the cube: the density that TPE models configurations with.

Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011, with the joint kernels of Falkner et al.,
"BOHB", ICML 2018. A kernel is a product over the axes: a normal distribution cut at the ends for a number, a mixture
of the observed choice and the prior for a category, and the prior where the observation has no such parameter. The
prior itself is one more kernel, as in Optuna, whose bandwidths (by the distance to the neighbours) are used too.
"""

from __future__ import annotations

import numpy as np
from scipy.special import ndtr, ndtri

from toprung.tuning.search.cube import Array, Cube

_PRIOR_CHOICE = 0.1
"""Weight of the prior in a categorical kernel."""
_TINY = 1e-12


class Parzen:
    """The density of `points` (n, d); n may be 0."""

    def __init__(self, points: Array, cube: Cube) -> None:
        n, d = points.shape
        self._cube = cube
        self._categorical = np.flatnonzero(cube.num_choices)
        self._numeric = np.flatnonzero(cube.num_choices == 0)
        prior = np.full((1, d), np.nan)  # no axis observed: uniform
        self._points = np.vstack([points, prior])
        self._known = ~np.isnan(self._points)
        self._widths = np.ones((n + 1, d))
        for axis in self._numeric.tolist():
            seen = np.flatnonzero(self._known[:, axis])
            if seen.size:
                self._widths[seen, axis] = _bandwidths(self._points[seen, axis])
        self._centres = np.where(self._known, self._points, 0.5)
        self._below = ndtr(-self._centres / self._widths)
        self._inside = ndtr((1 - self._centres) / self._widths) - self._below
        self._choices = {axis: self._choice_table(axis) for axis in self._categorical.tolist()}

    def sample(self, rng: np.random.Generator, count: int) -> Array:
        """Points (count, d), none of them NaN."""
        kernels = rng.integers(len(self._points), size=count)
        uniform = rng.random((count, self._points.shape[1]))
        points = uniform.copy()
        cut = self._below[kernels] + uniform * self._inside[kernels]
        normal = self._centres[kernels] + ndtri(np.clip(cut, _TINY, 1 - _TINY)) * self._widths[kernels]
        numeric = self._known[kernels]
        points[numeric] = np.clip(normal, 0, 1)[numeric]
        for axis, table in self._choices.items():
            ladder = np.cumsum(table[kernels], axis=1)
            points[:, axis] = np.minimum((uniform[:, [axis]] > ladder).sum(axis=1), self._cube.num_choices[axis] - 1)
        return points

    def log_density(self, points: Array) -> Array:
        """(m,) for points (m, d), NaN where a parameter isn't active."""
        logs = np.zeros((len(points), len(self._points)))
        for axis in self._numeric.tolist():
            place = points[:, [axis]]
            distance = (place - self._centres[:, axis]) / self._widths[:, axis]
            scale = np.log(self._inside[:, axis] * self._widths[:, axis] * np.sqrt(2 * np.pi))
            logs += np.where(self._known[:, axis] & ~np.isnan(place), -0.5 * distance**2 - scale, 0.0)
        for axis, table in self._choices.items():
            given = ~np.isnan(points[:, axis])
            # against a uniform prior, as the densities of numbers are
            relative = np.log(table * self._cube.num_choices[axis])
            logs[given] += relative[:, points[given, axis].astype(np.intp)].T
        top = logs.max(axis=1)
        density: Array = top + np.log(np.exp(logs - top[:, None]).sum(axis=1)) - np.log(len(self._points))
        return density

    def _choice_table(self, axis: int) -> Array:
        """(n + 1, k) probabilities of the choices in each kernel."""
        k = self._cube.num_choices[axis]
        table = np.full((len(self._points), k), 1.0 / k)
        seen = np.flatnonzero(self._known[:, axis])
        table[seen] = _PRIOR_CHOICE / k
        table[seen, self._points[seen, axis].astype(np.intp)] += 1 - _PRIOR_CHOICE
        return table


def _bandwidths(places: Array) -> Array:
    """(n,) the larger distance to a neighbour, at least 1 / min(100, n + 2)."""
    order = np.argsort(places, kind="stable")
    ends = np.concatenate([[0.0], places[order], [1.0]])
    gaps = np.diff(ends)
    widths = np.maximum(gaps[:-1], gaps[1:])
    if places.size >= 2:  # the ends of the range are no neighbours
        widths[0], widths[-1] = gaps[1], gaps[-2]
    result = np.empty_like(places)
    result[order] = np.clip(widths, 1 / min(100, places.size + 2), 1.0)
    return result
