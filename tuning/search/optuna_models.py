"""Optuna's Gaussian process and CMA-ES, asked for points of the cube.

Both see each trial at its own fidelity: the Gaussian process the ranks inside one level; CMA-ES, which cares for ranks
alone, a score in which a higher level comes before a lower one.
"""

from __future__ import annotations

import math
import warnings
from typing import Protocol

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution
from optuna.samplers import CmaEsSampler, GPSampler
from optuna.trial import TrialState, create_trial
from scipy.special import ndtri

from toprung.tuning.search.cube import Array, Cube
from toprung.tuning.search.history import History

_MAX_KNOWN = 100
"""Trials that a Gaussian process is fitted on; the time grows with their cube."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Model(Protocol):
    """What proposes points from a history."""

    def propose(self, history: History, level: int, points: dict[int, Array], rng: np.random.Generator) -> Array:
        """Candidates (m, d), the most promising first."""


class GaussianProcess:
    """Optuna's GPSampler, on the best trials and a sample of the others."""

    def __init__(self, cube: Cube) -> None:
        self._cube = cube
        self._axes = _axes(cube)

    def propose(self, history: History, level: int, points: dict[int, Array], rng: np.random.Generator) -> Array:
        with _quiet():
            sampler = GPSampler(seed=int(rng.integers(2**31)), n_startup_trials=0)
            study = optuna.create_study(sampler=sampler)
        good, others = history.split(level, _MAX_KNOWN // 2, _MAX_KNOWN // 2, rng)
        known = [*good, *others]
        for rank, number in enumerate(known):
            # normal scores: the ranks as a normal sample of this size would have them
            score = float(ndtri((rank + 0.5) / len(known)))
            study.add_trial(create_trial(params=self._params(points[number]), distributions=self._axes, value=score))
        for number in history.running:
            params = self._params(points[number])
            study.add_trial(create_trial(params=params, distributions=self._axes, state=TrialState.RUNNING))
        return _point(study.ask(self._axes), self._cube)

    def _params(self, point: Array) -> dict[str, float | int]:
        filled = np.where(np.isnan(point), np.where(self._cube.num_choices > 0, 0, 0.5), point)
        return {
            name: int(place) if isinstance(axis, CategoricalDistribution) else float(np.clip(place, 0, 1))
            for (name, axis), place in zip(self._axes.items(), filled, strict=True)
        }


class CmaEs:
    """Optuna's CmaEsSampler; categorical parameters, which it doesn't know, are drawn at random."""

    def __init__(self, cube: Cube, seed: int) -> None:
        self._cube = cube
        self._axes = _axes(cube)
        with _quiet():
            self._study = optuna.create_study(sampler=CmaEsSampler(seed=seed, warn_independent_sampling=False))
        self._asked: list[tuple[optuna.Trial, Array]] = []

    def propose(self, history: History, level: int, points: dict[int, Array], rng: np.random.Generator) -> Array:
        standings = {points[number].tobytes(): history.standing(number) for number in points}
        waiting = []
        for trial, point in self._asked:
            standing = standings.get(self._cube.encode(self._cube.decode(point)).tobytes())
            if standing is None:
                waiting.append((trial, point))
            else:
                reached, score = standing
                self._study.tell(trial, math.atan(score) / math.pi - history.levels.index(reached))
        trial = self._study.ask(self._axes)
        proposed = _point(trial, self._cube)
        self._asked = [*waiting, (trial, proposed[0])]
        return proposed


def model_of(algorithm: str, cube: Cube, seed: int) -> Model | None:
    """The model of an algorithm, where it is one of Optuna's."""
    if algorithm == "gp":
        return GaussianProcess(cube)
    if algorithm == "cmaes":
        return CmaEs(cube, seed)
    return None


def _axes(cube: Cube) -> dict[str, BaseDistribution]:
    return {
        f"{i:04d}": CategoricalDistribution(range(k)) if k else FloatDistribution(0.0, 1.0)
        for i, k in enumerate(cube.num_choices.tolist())
    }


def _point(trial: optuna.Trial, cube: Cube) -> Array:
    return np.array([[float(trial.params[f"{i:04d}"]) for i in range(cube.dim)]])


def _quiet() -> warnings.catch_warnings:
    return warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning)
