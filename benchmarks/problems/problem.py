"""What a test problem is, and what all problems share."""

from __future__ import annotations

import math
import random
import statistics
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from toprung.tuning.spec import SearchSpace, spec_from

Array = npt.NDArray[np.float64]
Params = Mapping[str, Any]

DATA = Path(__file__).parent.parent / "data"


class Problem(Protocol):
    """A tuning task whose learning curves are looked up or computed instead of trained. Lower is better."""

    @property
    def name(self) -> str:
        """Such as "mf-hartmann6-good"."""

    @property
    def kind(self) -> str:
        """Where the curves come from: "formula", "power-law", "table", "curve-prior" or "semi-synthetic"."""

    @property
    def max_t(self) -> int:
        """Steps of a full training."""

    @property
    def parameters(self) -> dict[str, Any]:
        """The `parameters` of a Toprung spec."""

    @property
    def optimum(self) -> float:
        """Lowest noise-free loss at max_t."""

    @property
    def reference(self) -> float:
        """Median noise-free loss at max_t of 1,000 random configurations."""

    def curve(self, params: Params, seed: int) -> Array:
        """Observed losses (max_t,) at steps 1 to max_t; the noise is a function of `seed` and the configuration."""

    def true(self, params: Params) -> float:
        """Noise-free loss at max_t."""

    def epoch_s(self, params: Params) -> float:
        """Virtual seconds a step takes."""


def regret(problem: Problem, params: Params) -> float:
    """Normalised regret: 0 for the best configuration, 1 for the median one."""
    return (problem.true(params) - problem.optimum) / (problem.reference - problem.optimum)


def space(parameters: Mapping[str, Any]) -> SearchSpace:
    """The search space that Toprung makes of a problem's parameters."""
    fields = {
        "trainable": "problems:curve",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": dict(parameters),
        "search": {"algorithm": "random"},
        "budget": {"trials": 1},
    }
    return spec_from(fields).space


def samples(parameters: Mapping[str, Any], count: int, seed: int = 0) -> list[dict[str, Any]]:
    """Random configurations, always the same ones for a seed."""
    searched, rng = space(parameters), random.Random(seed)
    return [searched.sample(rng) for _ in range(count)]


def median_loss(parameters: Mapping[str, Any], true: Callable[[Params], float]) -> float:
    """A problem's `reference`."""
    return statistics.median(true(params) for params in samples(parameters, 1_000))


def noise(params: Params, seed: int, count: int) -> Array:
    """Standard normal draws (count,) that differ between configurations as between seeds."""
    key = np.array([seed, fingerprint(params)], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key)).standard_normal(count)


def fingerprint(params: Params) -> int:
    """A number that differs between configurations, the same in every process."""
    return zlib.crc32(",".join([f"{name}={params[name]}" for name in sorted(params)]).encode())


def position(parameter: Mapping[str, Any], value: float) -> float:
    """Where a number lies in its range, from 0 to 1."""
    low, high = parameter["low"], parameter["high"]
    if parameter.get("log", False):
        return math.log(value / low) / math.log(high / low)
    return float((value - low) / (high - low))
