"""Tasks drawn from a prior over learning curves, that of FT-PFN.

Rakotoarison et al. 2024, "In-Context Freeze-Thaw Bayesian Optimization for Hyperparameter Optimization", ICML
(arXiv:2404.16795): a random neural network maps a configuration to the parameters of its curve, so that similar
configurations have similar curves, which may saturate, cross, or fall back. Written anew in numpy after the paper and
its package (ifbo 0.4.1), with three simplifications: the network has no noise of its own, its outputs' distribution is
tabulated by us at 1,001 quantiles, and a curve that falls back ends at its start.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri  # scipy ships no types

from problems.problem import DATA, Array, Params, median_loss, noise

QUANTILES = DATA / "curve-prior.npy"
NUM_OUTPUTS = 23

# of the shape of the power, exponential, logarithmic and Hill component: min + exp(normal(mean, sd))
_ALPHA_MEAN = np.array([1, 0, -4, 0.5])
_ALPHA_SD = np.array([1, 1, 1, 0.5])
_ALPHA_MIN = np.array([0, 0, 1, 0])

_OPTIMUM = {
    "curve-prior-3d-1": 0.10554646,
    "curve-prior-5d-2": 0.27739379,
    "curve-prior-4d-3": 0.29088369,
    "curve-prior-6d-6": 0.00284874,
    "curve-prior-8d-3": 0.35977613,
}


@dataclass(frozen=True)
class Network:
    """A random network with tanh units.

    Attributes:
        weights: (in, out) of each layer.
        biases: (out,) of each layer.
    """

    weights: tuple[Array, ...]
    biases: tuple[Array, ...]

    def __call__(self, x: npt.ArrayLike) -> Array:
        """Outputs (n, 23) for points (n, d) of the unit cube."""
        hidden = (np.asarray(x, dtype=np.float64) - 0.5) * 12**0.5
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            hidden = np.tanh(hidden @ weight + bias)
        return np.asarray(hidden @ self.weights[-1] + self.biases[-1])


def draw_network(dim: int, rng: np.random.Generator) -> Network:
    """8 to 15 layers of 36 to 149 units, 14.5 % of the inner weights cut."""
    layers, units, sd = int(rng.integers(8, 16)), int(rng.integers(36, 150)), rng.uniform(0.089, 0.193)
    kept = 1 - 0.145
    widths = [dim, *[units] * (layers - 1), NUM_OUTPUTS]
    weights: list[Array] = [rng.normal(0, sd, shape) for shape in itertools.pairwise(widths)]
    inner = [weight * (rng.random(weight.shape) < kept) / kept**0.5 for weight in weights[1:-1]]
    weights = [weights[0], *inner, weights[-1]]
    biases: list[Array] = [rng.normal(0, sd, (width,)) for width in widths[1:]]
    return Network(tuple(weights), tuple(biases))


@dataclass(frozen=True)
class Curves:
    """Curves of n configurations, one component a row of `share` and those below.

    Attributes:
        best: performance in the limit, (n,).
        noise_sd: of an observation, (n,).
        share: of the four components, (n, 4).
        alpha: shape, (n, 4).
        saturation: where the component saturates, as a fraction of max_t, (n, 4).
        precision: by what factor the distance to `best` has then shrunk, (n, 4).
        slope: progress after that, relative to before; negative: the curve falls back, (n, 4).
    """

    best: Array
    noise_sd: Array
    share: Array
    alpha: Array
    saturation: Array
    precision: Array
    slope: Array

    def remaining(self, x: Array) -> Array:
        """Fraction of the way from start to best that is left at x = t / max_t, (n, t)."""
        late = x[:, None, None] - self.saturation  # (t, n, 4)
        progress = np.maximum(0, 1 + np.where(late > 0, self.slope, 1) * late / self.saturation)
        power, exponential, logarithmic, hill = (progress[..., k] for k in range(4))
        a, p = self.alpha.T, self.precision.T
        parts = np.stack(
            [
                (1 + (p[0] ** (1 / a[0]) - 1) * power) ** -a[0],
                p[1] ** -(exponential ** a[1]),
                np.log(a[2]) / np.log(a[2] + (a[2] ** p[2] - a[2]) * logarithmic),
                1 / (1 + (p[3] - 1) * hill ** a[3]),
            ]
        )
        return np.asarray(np.einsum("nk,ktn->nt", self.share, parts))


@dataclass(frozen=True, eq=False)
class CurvePrior:
    """A task drawn from the prior.

    Attributes:
        start: performance before the first step, from 0 to 1.
        ceiling: the best performance possible.
    """

    name: str
    dim: int
    max_t: int
    start: float
    ceiling: float
    network: Network
    kind: ClassVar[str] = "curve-prior"

    @cached_property
    def parameters(self) -> dict[str, Any]:
        return {f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(self.dim)}

    @property
    def optimum(self) -> float:
        """Found by benchmarks/make_tables.py: 200,000 random configurations, the best of them improved."""
        return _OPTIMUM[self.name]

    @cached_property
    def reference(self) -> float:
        return median_loss(self.parameters, self.true)

    def curve(self, params: Params, seed: int) -> Array:
        curves = self.curves([self._point(params)])
        losses = self.losses(curves, self._steps)[0] + curves.noise_sd[0] * noise(params, seed, self.max_t)
        return np.asarray(np.clip(losses, 0, 1))

    def true(self, params: Params) -> float:
        return float(self.losses(self.curves([self._point(params)]), self._steps[-1:])[0, 0])

    def epoch_s(self, params: Params) -> float:
        return 1.0

    def losses(self, curves: Curves, x: Array) -> Array:
        """Noise-free losses (n, t), one minus performance."""
        best = curves.best[:, None]
        return np.asarray(1 - best + (best - self.start) * curves.remaining(x))

    def curves(self, points: npt.ArrayLike) -> Curves:
        """The curves of points (n, d), from the network's outputs as uniform random numbers."""
        uniform = np.interp(self.network(points), *_distribution())
        exponential, normal = -np.log1p(-uniform), ndtri(uniform)
        shares, spread = exponential[:, 1:5], exponential[:, 10:14]
        return Curves(
            best=self.start + (self.ceiling - self.start) * uniform[:, 0],
            share=shares / shares.sum(axis=1, keepdims=True),
            alpha=np.exp(normal[:, 5:9] * _ALPHA_SD + _ALPHA_MEAN) + _ALPHA_MIN,
            saturation=10 ** normal[:, 9:10] * spread / spread.max(axis=1, keepdims=True),
            precision=10 ** (3 - 3 * uniform[:, 14:18]),
            slope=1 - exponential[:, 18:22],
            noise_sd=np.exp(normal[:, 22] - 5),
        )

    def _point(self, params: Params) -> list[float]:
        return [params[name] for name in self.parameters]

    @cached_property
    def _steps(self) -> Array:
        return np.arange(1, self.max_t + 1) / self.max_t


def curve_prior(dim: int, seed: int, max_t: int = 27) -> CurvePrior:
    """The task of a seed."""
    rng = np.random.default_rng(seed)
    start, high = sorted(rng.random(2))
    ceiling = high if rng.random() < 0.25 else 1.0
    return CurvePrior(f"curve-prior-{dim}d-{seed}", dim, max_t, start, ceiling, draw_network(dim, rng))


@cache
def _distribution() -> tuple[Array, Array]:
    """Values of a network's output and the probabilities of lower ones; never 0 or 1, whose normals are infinite."""
    values = np.load(QUANTILES)
    return values, np.linspace(0, 1, len(values)).clip(1e-4, 1 - 1e-4)
