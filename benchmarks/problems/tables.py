"""Tables of learning curves that were really trained, by benchmarks/make_tables.py on data that scikit-learn ships.

A configuration is looked up at the nearest trained one: that with the same categories and the same parameters in
existence whose numbers, as fractions of their ranges, are nearest. Each was trained three times with other random
numbers: `curve` is one of the three, noise and all, and `true` the mean of their last losses. A step takes the CPU
time that it took then, in units of the median configuration's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from problems.problem import DATA, Array, Params, fingerprint, median_loss, position

NUM_CONFIGS = 800
NUM_REPEATS = 3


@dataclass(frozen=True)
class Task:
    """What a table is made of.

    Attributes:
        max_t: steps of a training.
        cap: what losses above it, and those that are not a number, are set to.
    """

    name: str
    max_t: int
    cap: float
    parameters: dict[str, Any]

    @property
    def file(self) -> Path:
        return DATA / f"{self.name}.npz"


DIGITS = Task(
    "table-digits-mlp",
    max_t=27,
    cap=2 * float(np.log(10)),
    parameters={
        "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
        "batch_size": {"type": "categorical", "choices": [32, 128, 512]},
        "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
        "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": ["sgd"]}},
        "hidden": {"type": "int", "low": 8, "high": 256, "log": True},
        "dropout": {"type": "float", "low": 0.0, "high": 0.8},
        "weight_decay": {"type": "float", "low": 1e-6, "high": 1e-1, "log": True},
    },
)
"""A network with one hidden layer on 600 digits; cross-entropy on the other 1,197."""

DIABETES = Task(
    "table-diabetes-boosting",
    max_t=27,
    cap=2.0,
    parameters={
        "loss": {"type": "categorical", "choices": ["squared_error", "huber"]},
        "alpha": {"type": "float", "low": 0.5, "high": 0.99, "when": {"loss": ["huber"]}},
        "learning_rate": {"type": "float", "low": 1e-2, "high": 1.0, "log": True},
        "max_depth": {"type": "int", "low": 1, "high": 10},
        "min_samples_leaf": {"type": "int", "low": 1, "high": 64, "log": True},
        "subsample": {"type": "float", "low": 0.2, "high": 1.0},
        "max_features": {"type": "float", "low": 0.1, "high": 1.0},
    },
)
"""Gradient boosting on 292 diabetes patients, a tree a step; squared error on the other 150, in target variances."""

FRIEDMAN = Task(
    "table-friedman-mlp",
    max_t=27,
    cap=2.0,
    parameters={
        "activation": {"type": "categorical", "choices": ["relu", "tanh"]},
        "layers": {"type": "int", "low": 1, "high": 3},
        "width": {"type": "int", "low": 4, "high": 128, "log": True},
        "dropout": {"type": "float", "low": 0.0, "high": 0.5, "when": {"layers": [2, 3]}},
        "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
        "lr_decay": {"type": "float", "low": 0.8, "high": 1.0},
        "batch_size": {"type": "int", "low": 16, "high": 128, "log": True},
        "weight_decay": {"type": "float", "low": 1e-6, "high": 1e-1, "log": True},
    },
)
"""A network of up to three layers on Friedman's first function, 400 noisy points; squared error on 1,000 others."""

CANCER = Task(
    "table-cancer-sgd",
    max_t=27,
    cap=2 * float(np.log(2)),
    parameters={
        "penalty": {"type": "categorical", "choices": ["l2", "l1", "elasticnet"]},
        "l1_ratio": {"type": "float", "low": 0.0, "high": 1.0, "when": {"penalty": ["elasticnet"]}},
        "alpha": {"type": "float", "low": 1e-6, "high": 1e-1, "log": True},
        "schedule": {"type": "categorical", "choices": ["constant", "invscaling"]},
        "power_t": {"type": "float", "low": 0.1, "high": 1.0, "when": {"schedule": ["invscaling"]}},
        "eta0": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
    },
)
"""Logistic regression by SGD on 285 breast-cancer patients, a fifth of them mislabelled; log loss on the other 284."""


@dataclass(frozen=True, eq=False)
class Table:
    """Trained curves, looked up.

    Attributes:
        configs: the trained ones.
        losses: their curves, (n, repeats, max_t).
        step_s: CPU time of a step, (n,), relative to the median's.
    """

    task: Task
    configs: tuple[dict[str, Any], ...]
    losses: Array
    step_s: Array
    kind: ClassVar[str] = "table"

    @property
    def name(self) -> str:
        return self.task.name

    @property
    def max_t(self) -> int:
        return self.task.max_t

    @property
    def parameters(self) -> dict[str, Any]:
        return self.task.parameters

    @cached_property
    def optimum(self) -> float:
        return float(self._finals.min())

    @cached_property
    def reference(self) -> float:
        return median_loss(self.parameters, self.true)

    def curve(self, params: Params, seed: int) -> Array:
        repeat = (seed + fingerprint(params)) % self.losses.shape[1]
        return np.array(self.losses[self.nearest(params), repeat])

    def true(self, params: Params) -> float:
        return float(self._finals[self.nearest(params)])

    def epoch_s(self, params: Params) -> float:
        return float(self.step_s[self.nearest(params)])

    def nearest(self, params: Params) -> int:
        """Index of the trained configuration that stands for this one."""
        rows, positions = self._cells[self._cell(params)]
        return int(rows[((positions - self._positions(params)) ** 2).sum(axis=1).argmin()])

    @cached_property
    def _finals(self) -> Array:
        return np.asarray(self.losses[:, :, -1].mean(axis=1))

    @cached_property
    def _cells(self) -> dict[tuple[Any, ...], tuple[Array, Array]]:
        """Indices (m,) and positions (m, k) of the configurations that have their categories in common."""
        members: dict[tuple[Any, ...], list[int]] = {}
        for index, config in enumerate(self.configs):
            members.setdefault(self._cell(config), []).append(index)
        return {
            cell: (np.array(rows), np.array([self._positions(self.configs[row]) for row in rows]))
            for cell, rows in members.items()
        }

    def _cell(self, params: Params) -> tuple[Any, ...]:
        return tuple([params.get(name) for name in self._categories] + [name in params for name in self._conditional])

    def _positions(self, params: Params) -> list[float]:
        return [position(parameter, params[name]) for name, parameter in self._numbers if name in params]

    @cached_property
    def _categories(self) -> list[str]:
        return [name for name, parameter in self.parameters.items() if parameter["type"] == "categorical"]

    @cached_property
    def _conditional(self) -> list[str]:
        return [name for name, parameter in self.parameters.items() if "when" in parameter]

    @cached_property
    def _numbers(self) -> list[tuple[str, Any]]:
        return [(name, parameter) for name, parameter in self.parameters.items() if name not in self._categories]


def load_table(task: Task) -> Table:
    """Reads a table."""
    with np.load(task.file) as file:
        columns = {name: _values(task.parameters[name], file[name]) for name in task.parameters}
        losses, step_s = file["losses"].astype(np.float64), file["step_s"].astype(np.float64)
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    configs = tuple({name: value for name, value in row.items() if value is not None} for row in rows)
    return Table(task, configs, losses, step_s)


def save_table(task: Task, configs: list[dict[str, Any]], losses: Array, step_s: Array) -> None:
    """Writes a table. A column holds numbers, or indices of choices; NaN where the parameter does not exist."""
    columns = {name: _column(parameter, [c.get(name) for c in configs]) for name, parameter in task.parameters.items()}
    arrays: dict[str, Any] = {"losses": losses.astype(np.float16), "step_s": step_s.astype(np.float32), **columns}
    np.savez_compressed(task.file, **arrays)


def _column(parameter: dict[str, Any], values: Iterable[Any]) -> Array:
    encode: Callable[[Any], float] = parameter["choices"].index if "choices" in parameter else float
    return np.array([np.nan if value is None else encode(value) for value in values])


def _values(parameter: dict[str, Any], column: Array) -> list[Any]:
    decoders: dict[str, Callable[[float], Any]] = {
        "categorical": lambda value: parameter["choices"][int(value)],
        "int": int,
        "float": float,
    }
    decode = decoders[parameter["type"]]
    return [None if np.isnan(value) else decode(value) for value in column]
