"""Optuna's CMA-ES, asked for points of the cube.

It cares for ranks alone: it is told a score in which a higher level comes before a lower one.
"""

from __future__ import annotations

import math
import warnings

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import CmaEsSampler

from toprung.tuning.search.cube import Array, Cube
from toprung.tuning.search.history import History

optuna.logging.set_verbosity(optuna.logging.WARNING)


class CmaEs:
    """Optuna's CmaEsSampler; categorical parameters, which it doesn't know, are drawn at random."""

    def __init__(self, cube: Cube, seed: int) -> None:
        self._cube = cube
        self._axes = _axes(cube)
        with _quiet():
            self._study = optuna.create_study(sampler=CmaEsSampler(seed=seed, warn_independent_sampling=False))
        self._asked: list[tuple[optuna.Trial, Array]] = []

    def propose(self, history: History, points: dict[int, Array], rng: np.random.Generator) -> Array:
        standings = {points[number].tobytes(): history.standing(number) for number in points}
        waiting = []
        for trial, point in self._asked:
            standing = standings.get(self._cube.encode(self._cube.decode(point)).tobytes())
            if standing is None:
                waiting.append((trial, point))
            else:
                reached, score = standing
                # what can't be trained comes last, whatever level it is placed at
                told = 1.0 if score == math.inf else math.atan(score) / math.pi - history.levels.index(reached)
                self._study.tell(trial, told)
        trial = self._study.ask(self._axes)
        proposed = _point(trial, self._cube)
        self._asked = [*waiting, (trial, proposed[0])]
        return proposed


def _axes(cube: Cube) -> dict[str, BaseDistribution]:
    return {
        f"{i:04d}": CategoricalDistribution(range(k)) if k else FloatDistribution(0.0, 1.0)
        for i, k in enumerate(cube.num_choices.tolist())
    }


def _point(trial: optuna.Trial, cube: Cube) -> Array:
    return np.array([[float(trial.params[f"{i:04d}"]) for i in range(cube.dim)]])


def _quiet() -> warnings.catch_warnings:
    return warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning)
