"""Test problems on which searchers are compared in virtual time: learning curves without training.

    problem = load("curves-branin")
    losses = problem.curve({"lr": 0.01, "weight_decay": 1e-4}, seed=0)

Methods are developed on `TUNE`; figures are reported on `REPORT`. Both have problems of every kind. Those of `OPTIONAL`
need a package of their own (see hpobench.py) and are for reports alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from problems import curves, tables
from problems.hartmann import hartmann
from problems.hpobench import hpobench
from problems.prior import curve_prior
from problems.problem import Problem, regret, samples, space

ALL: dict[str, Callable[[], Problem]] = {
    "mf-hartmann3-good": partial(hartmann, 3, "good"),
    "mf-hartmann3-bad": partial(hartmann, 3, "bad"),
    "mf-hartmann6-good": partial(hartmann, 6, "good"),
    "mf-hartmann6-bad": partial(hartmann, 6, "bad"),
    "curves-branin": curves.branin,
    "curves-rosenbrock": curves.rosenbrock,
    "curves-levy": curves.levy,
    "curves-ackley": curves.ackley,
    "curves-sparse": curves.sparse,
    "curves-cliff": curves.cliff,
    "table-digits-mlp": partial(tables.load_table, tables.DIGITS),
    "table-diabetes-boosting": partial(tables.load_table, tables.DIABETES),
    "table-friedman-mlp": partial(tables.load_table, tables.FRIEDMAN),
    "table-cancer-sgd": partial(tables.load_table, tables.CANCER),
    "curve-prior-3d-1": partial(curve_prior, 3, 1),
    "curve-prior-5d-2": partial(curve_prior, 5, 2),
    "curve-prior-4d-3": partial(curve_prior, 4, 3),
    "curve-prior-6d-6": partial(curve_prior, 6, 6, max_t=81),
    "curve-prior-8d-3": partial(curve_prior, 8, 3),
    "hpobench-phoneme": partial(hpobench, "phoneme"),
    "hpobench-segment": partial(hpobench, "segment"),
    "hpobench-kc1": partial(hpobench, "kc1"),
}

TUNE: tuple[str, ...] = (
    "mf-hartmann3-good",
    "mf-hartmann3-bad",
    "curves-branin",
    "curves-levy",
    "curves-cliff",
    "table-digits-mlp",
    "table-diabetes-boosting",
    "curve-prior-3d-1",
    "curve-prior-5d-2",
)
REPORT: tuple[str, ...] = (
    "mf-hartmann6-good",
    "mf-hartmann6-bad",
    "curves-rosenbrock",
    "curves-ackley",
    "curves-sparse",
    "table-friedman-mlp",
    "table-cancer-sgd",
    "curve-prior-4d-3",
    "curve-prior-6d-6",
    "curve-prior-8d-3",
)
OPTIONAL: tuple[str, ...] = ("hpobench-phoneme", "hpobench-segment", "hpobench-kc1")


def load(name: str) -> Problem:
    """A problem by its name.

    Raises:
        PackageMissing: one of `OPTIONAL`, whose package is not installed.
    """
    return ALL[name]()


__all__ = ["ALL", "OPTIONAL", "REPORT", "TUNE", "Problem", "load", "regret", "samples", "space"]
