"""A Gaussian process over configurations and rungs: what a trial would reach at the last rung, from scores at any.

Scores of two rungs are correlated, the more the nearer the rungs are, and each rung has its own noise and scale: what
the lower rungs tell of the last one is learnt, not assumed (the fidelity as one more input: Kandasamy et al.,
"Multi-fidelity Bayesian Optimisation with Continuous Approximations", ICML 2017). That only the better trials have
scores further up does no harm, since the scores by which they were chosen are in the model too.

Over configurations: Matérn 5/2 with a length scale for each axis, whose prior grows with the square root of the number
of axes (Hvarfner et al., "Vanilla Bayesian Optimization Performs Great in High Dimensions", ICML 2024).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.optimize import minimize

from toprung.tuning.search.cube import Array

Levels = npt.NDArray[np.intp]
Axes = npt.NDArray[np.intp]

_ROOT_5 = math.sqrt(5)
_MEAN_VARIANCE = 1.0
"""Prior variance of the mean of all scores, and of what the mean of a rung adds to it."""
_JITTER = 1e-6
_KNOWN_NOISE = 0.01
"""Of the variance: added to the noise of the final values that `Kernel.deviation` takes for known."""
_MAX_STEPS = 40
_FAR = 4.0
"""Standard deviations of the prior within which parameters are looked for."""


@dataclass(frozen=True)
class Kernel:
    """The covariance of the scores of a sweep with d axes and L rungs, over places with f features.

    Attributes:
        axes: (f,) the axis of each feature.
        weights: (d,) inverse squares of the length scales.
        variance: of final values.
        places: (L,) of the rungs on a line; two of them are correlated with exp(-distance).
        scales: (L,) of the scores of each rung; 1 for the last.
        noise: (L,) variance.
    """

    axes: Axes
    weights: Array
    variance: float
    places: Array
    scales: Array
    noise: Array

    @classmethod
    def fit(cls, places: Array, levels: Levels, scores: Array, axes: Axes, num_levels: int) -> Kernel:
        """The most probable kernel (maximum a posteriori) for scores (n,) of places (n, f) at levels (n,), from 0."""
        prior = _Prior(axes, num_levels)
        loss = prior.loss(places, levels, scores)
        found = minimize(
            loss, prior.mean, jac=True, method="L-BFGS-B", bounds=prior.bounds, options={"maxiter": _MAX_STEPS}
        )
        return prior.kernel(found.x)

    def expected(self, places: Array, levels: Levels, scores: Array) -> Callable[[Array], Array]:
        """Places (m, f) -> (m,) expected final values, given scores (n,) of places (n, f) at levels (n,)."""
        a, b, last = levels[:, None], levels[None, :], np.array([len(self.places) - 1])
        covariance = self._between(places, places) * self.between_levels(a, b) + _mean_covariance(a, b)
        covariance[np.diag_indices(len(places))] += self.noise[levels] + _JITTER
        weighted = cho_solve(cho_factor(covariance, lower=True), scores)
        to_last, means = self.between_levels(levels, last), _mean_covariance(levels, last)

        def expectation(others: Array) -> Array:
            values: Array = (self._between(others, places) * to_last + means) @ weighted
            return values

        return expectation

    def deviation(self, known: Array, levels: Levels) -> Callable[[Array], Array]:
        """Places (m, f) -> (m,) standard deviations of their final values, as far as new trials there could lower them.

        Args:
            known: places (n, f) of trials; their final values are taken for known but for the noise of what was seen.
            levels: (n,) the highest level at which each was, or will be, seen.

        What a low rung leaves open of a tried configuration is no reason to try it again: the trial itself goes on if
        it is good. With the posterior's own deviations proposals gather where trials were stopped.
        """
        covariance = self._between(known, known)
        seen_noise = self.noise[levels] / self.scales[levels] ** 2
        covariance[np.diag_indices(len(known))] += _KNOWN_NOISE * self.variance + seen_noise
        factor, _ = cho_factor(covariance, lower=True)

        def deviations(others: Array) -> Array:
            explained = solve_triangular(factor, self._between(known, others), lower=True, check_finite=False)
            values: Array = np.sqrt(np.maximum(self.variance - (explained**2).sum(0), _JITTER))
            return values

        return deviations

    def between_levels(self, a: Levels, b: Levels) -> Array:
        """Covariances of the scores of one configuration at levels, in units of the variance."""
        scaled: Array = self.scales[a] * self.scales[b] * np.exp(-np.abs(self.places[a] - self.places[b]))
        return scaled

    def _between(self, places: Array, others: Array) -> Array:
        """(n, m) covariances of the final values of two sets of configurations."""
        scale = np.sqrt(self.weights[self.axes])
        a, b = places * scale, others * scale
        squares = (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * (a @ b.T)
        return self.variance * _matern(np.maximum(squares, 0.0))


class _Prior:
    """Normal priors of θ, the logarithms of a kernel's parameters.

    θ: d length scales, the variance, L - 1 distances from a rung to the next, L - 1 scales, L noise variances.
    """

    def __init__(self, axes: Axes, num_levels: int) -> None:
        d = int(axes[-1]) + 1
        self._axes, self._num_levels = axes, num_levels
        parts = [  # size, mean, standard deviation
            (d, math.log(0.5) + 0.5 * math.log(d / 3), 1.0),
            (1, 0.0, 1.0),
            (num_levels - 1, math.log(0.3), 1.0),
            (num_levels - 1, 0.0, 0.5),
            (num_levels, math.log(0.05), 1.5),
        ]
        self.mean = np.concatenate([np.full(size, mean) for size, mean, _ in parts])
        self._deviation = np.concatenate([np.full(size, deviation) for size, _, deviation in parts])
        # a step of the search too far out, and the covariance can't be factored
        far = _FAR * self._deviation
        self.bounds = list(zip(self.mean - far, self.mean + far, strict=True))
        self._cuts = np.cumsum([size for size, _, _ in parts])[:-1]

    def kernel(self, theta: Array) -> Kernel:
        lengths, variance, distances, scales, noise = np.split(np.exp(theta), self._cuts)
        return Kernel(
            axes=self._axes,
            weights=lengths**-2.0,
            variance=float(variance[0]),
            places=np.concatenate([[0.0], np.cumsum(distances)]),
            scales=np.concatenate([scales, [1.0]]),
            noise=noise,
        )

    def loss(self, places: Array, levels: Levels, scores: Array) -> Callable[[Array], tuple[float, Array]]:
        """θ -> minus the logarithm of its posterior density, up to a constant, and the gradient.

        Rasmussen and Williams, "Gaussian Processes for Machine Learning", 2006, equations 5.8 and 5.9.
        """
        squares = _squares(places, self._axes)
        a, b = levels[:, None], levels[None, :]
        means, diagonal, eye = _mean_covariance(a, b), np.diag_indices(len(places)), np.eye(len(places))
        at = [levels == i for i in range(self._num_levels)]
        across = [(np.minimum(a, b) <= i) & (np.maximum(a, b) > i) for i in range(self._num_levels - 1)]

        def loss(theta: Array) -> tuple[float, Array]:
            kernel = self.kernel(theta)
            together = np.tensordot(kernel.weights, squares, 1)
            similar, slope = _matern(together), _matern_slope(together)
            rungs = kernel.variance * kernel.between_levels(a, b)
            covariance = similar * rungs + means
            covariance[diagonal] += kernel.noise[levels] + _JITTER
            factor = cho_factor(covariance, lower=True, check_finite=False)
            weighted = cho_solve(factor, scores, check_finite=False)
            residual = 0.5 * (cho_solve(factor, eye, check_finite=False) - np.outer(weighted, weighted))
            by_signal, by_noise = residual * similar * rungs, np.diag(residual)
            distances = np.diff(kernel.places)
            gradient = np.concatenate(
                [
                    np.tensordot(squares, residual * slope * rungs, 2) * (-2 * kernel.weights),
                    [by_signal.sum()],
                    [-by_signal[where].sum() * distance for where, distance in zip(across, distances, strict=True)],
                    [2 * by_signal[where].sum() for where in at[:-1]],
                    [by_noise[where].sum() * noise for where, noise in zip(at, kernel.noise, strict=True)],
                ]
            )
            off = (theta - self.mean) / self._deviation
            value = 0.5 * scores @ weighted + np.log(np.diag(factor[0])).sum() + 0.5 * off @ off
            return float(value), gradient + off / self._deviation

        return loss


def _mean_covariance(a: Levels, b: Levels) -> Array:
    """Covariances of scores at two levels that come from the unknown means of the rungs."""
    shared: Array = _MEAN_VARIANCE * (1.0 + (a == b))
    return shared


def _matern(squares: Array) -> Array:
    """Matérn 5/2 of squared distances."""
    distance = _ROOT_5 * np.sqrt(squares)
    value: Array = (1 + distance + 5 / 3 * squares) * np.exp(-distance)
    return value


def _matern_slope(squares: Array) -> Array:
    """The derivative of `_matern` by the squared distances."""
    distance = _ROOT_5 * np.sqrt(squares)
    value: Array = -5 / 6 * (1 + distance) * np.exp(-distance)
    return value


def _squares(places: Array, axes: Axes) -> Array:
    """(d, n, n) squared distances along each axis."""
    by_feature = (places.T[:, :, None] - places.T[:, None, :]) ** 2
    return np.add.reduceat(by_feature, np.flatnonzero(np.diff(axes, prepend=-1)), axis=0)
