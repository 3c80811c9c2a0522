"""The Tree-structured Parzen Estimator: what is likely among the good configurations and unlikely among the others.

Bergstra et al., "Algorithms for Hyper-Parameter Optimization", NeurIPS 2011.

Ours rather than Optuna's sampler because it must rank trials by rung, judge proposals by the sweep's relations before
it chooses, and stay cheap: docs/benchmarks.md compares them.
"""

from __future__ import annotations

import math

import numpy as np

from toprung.tuning.search.cube import Array, Cube
from toprung.tuning.search.history import History
from toprung.tuning.search.parzen import Parzen

_CANDIDATES = 24
_GOOD_FRAC = 0.15
_MAX_GOOD = 25
_MAX_BAD = 225
"""The others are a sample of this size: what a proposal costs doesn't grow with the sweep."""


def propose(history: History, level: int, points: dict[int, Array], cube: Cube, rng: np.random.Generator) -> Array:
    """Candidates (m, d), the most promising first.

    Args:
        history: of the sweep.
        level: of the scores to go by; there is a finite one.
        points: (d,) of each of its trials.
    """
    known = history.num_finite(level)
    num_good = min(max(math.ceil(_GOOD_FRAC * known), min(cube.dim + 1, known // 2)), _MAX_GOOD)
    good, bad = history.split(level, num_good, _MAX_BAD, rng)
    # those that run are taken for bad ones, so that workers don't crowd (constant liar; Ginsbourger et al. 2010)
    bad += history.running[-_MAX_BAD:]
    among_good = Parzen(_stacked(good, points, cube), cube)
    among_bad = Parzen(_stacked(bad, points, cube), cube)
    candidates = among_good.sample(rng, _CANDIDATES)
    seen = np.array([cube.encode(cube.decode(candidate)) for candidate in candidates])
    return candidates[np.argsort(among_bad.log_density(seen) - among_good.log_density(seen), kind="stable")]


def _stacked(numbers: list[int], points: dict[int, Array], cube: Cube) -> Array:
    return np.array([points[number] for number in numbers]).reshape(-1, cube.dim)
