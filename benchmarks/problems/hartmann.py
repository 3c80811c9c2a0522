"""Multi-fidelity Hartmann functions, by formula.

The fidelities are those of Kandasamy et al. 2017 (arXiv:1703.06240): the weights α of the four bumps shrink as the
fidelity z falls. Quadratic bias, noise and presets are mf-prior-bench's (Mallik et al. 2023, arXiv:2306.12370,
`mfhartmann`), with z = log(t) / log(max_t): at the first steps of "bad", whose bias is above all α, the function stands
on its head. As there, the noise falls to nothing at the last step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from problems.problem import Array, Params, median_loss, noise

_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])

# A and P of the functions with d = 3 and 6, (4, d); Surjanovic and Bingham, sfu.ca/~ssurjano/hart3.html and hart6.html
_A = {
    3: np.array([[3.0, 10, 30], [0.1, 10, 35], [3.0, 10, 30], [0.1, 10, 35]]),
    6: np.array(
        [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
    ),
}
_P = {
    3: 1e-4 * np.array([[3689, 1170, 2673], [4699, 4387, 7470], [1091, 8732, 5547], [381, 5743, 8828]]),
    6: 1e-4
    * np.array(
        [
            [1312, 1696, 5569, 124, 8283, 5886],
            [2329, 4135, 8307, 3736, 1004, 9991],
            [2348, 1451, 3522, 2883, 3047, 6650],
            [4047, 8828, 8732, 5743, 1091, 381],
        ]
    ),
}
_OPTIMUM = {3: -3.86277978733267, 6: -3.32236801141552}  # Nelder-Mead from the known minimisers


@dataclass(frozen=True)
class Hartmann:
    """A Hartmann function whose fidelity is the step.

    Attributes:
        dim: 3 or 6.
        bias: how far the bumps' weights sink at the lowest fidelity.
        noise_sd: standard deviation of the noise at the lowest fidelity.
    """

    name: str
    dim: int
    bias: float
    noise_sd: float
    max_t: int = 27
    kind: ClassVar[str] = "formula"

    @cached_property
    def parameters(self) -> dict[str, Any]:
        return {f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(self.dim)}

    @property
    def optimum(self) -> float:
        return _OPTIMUM[self.dim]

    @cached_property
    def reference(self) -> float:
        return median_loss(self.parameters, self.true)

    def curve(self, params: Params, seed: int) -> Array:
        return self._weights @ self._bumps(params) + self._noise_sds * noise(params, seed, self.max_t)

    def true(self, params: Params) -> float:
        return float(-_ALPHA @ self._bumps(params))

    def epoch_s(self, params: Params) -> float:
        return 1.0

    def _bumps(self, params: Params) -> Array:
        x = np.array([params[name] for name in self.parameters], dtype=np.float64)
        return np.asarray(np.exp(-(_A[self.dim] * (x - _P[self.dim]) ** 2).sum(axis=1)))

    @cached_property
    def _infidelity(self) -> Array:
        return np.asarray(1 - np.log(np.arange(1, self.max_t + 1)) / np.log(self.max_t))

    @cached_property
    def _weights(self) -> Array:
        """Minus α as the steps see it, (max_t, 4)."""
        return np.asarray(self.bias * self._infidelity[:, None] ** 2 - _ALPHA)

    @cached_property
    def _noise_sds(self) -> Array:
        return self.noise_sd * self._infidelity


def hartmann(dim: int, preset: str) -> Hartmann:
    """A variant: "good", or "bad" with misleading low fidelities."""
    bias, noise_sd = {"good": (2.5, 2.0), "bad": (3.5, 4.0)}[preset]
    return Hartmann(f"mf-hartmann{dim}-{preset}", dim, bias, noise_sd, max_t={3: 27, 6: 81}[dim])
