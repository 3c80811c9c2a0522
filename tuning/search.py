"""Proposing configurations: ask and tell on Optuna's samplers, without Ray.

`Search.ask` gives the next configuration, `observe` tells what a trial reached at a step, `tell` how it ended. A trial
that was stopped early is told as PRUNED with what it reached at each step, never as if its last value were final
(Ray Tune's OptunaSearch does that, and its model then does worse than random search).
"""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import optuna
from optuna.samplers import BaseSampler, CmaEsSampler, GPSampler, QMCSampler, RandomSampler, TPESampler
from optuna.trial import TrialState as OptunaState

from toprung.tuning.records import TrialState
from toprung.tuning.spec import (
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    SearchSpace,
    SweepSpec,
)

Params = dict[str, Any]
"""The active varied parameters of a trial, flat."""

_MODEL_TRIES = 20
"""Proposals of the model that may break a relation before one is drawn from the space itself."""

optuna.logging.set_verbosity(optuna.logging.WARNING)


class Search:
    """The proposals of one sweep.

    Trials are known by their number. Not thread-safe: one runner asks and tells.
    """

    def __init__(self, spec: SweepSpec) -> None:
        self._space: SearchSpace = spec.space
        self._rng = random.Random(spec.search.seed)
        self._grid: Iterator[Params] | None = self._space.grid() if spec.search.algorithm == "grid" else None
        self._study = optuna.create_study(
            direction=spec.metric.goal, sampler=_sampler(spec.search.algorithm, spec.search.seed)
        )
        self._open: dict[int, optuna.Trial] = {}
        self._last: dict[int, float] = {}

    def ask(self, number: int) -> Params | None:
        """The configuration of trial `number`; None when a grid has no more."""
        if self._grid is not None:
            return next(self._grid, None)
        for _ in range(_MODEL_TRIES):
            trial = self._study.ask()
            params = suggest(trial, self._space)
            if self._space.satisfied(params):
                break
            self._study.tell(trial, state=OptunaState.FAIL)
        else:
            self._study.enqueue_trial(self._space.sample(self._rng))
            trial = self._study.ask()
            params = suggest(trial, self._space)
        self._open[number] = trial
        return params

    def observe(self, number: int, step: int, value: float) -> None:
        """Takes note of what a running trial reached at a step. The value must be finite."""
        if number in self._open:
            self._open[number].report(value, step)
            self._last[number] = value

    def tell(self, number: int, state: TrialState) -> None:
        """Takes note of how a trial ended. Unknown and already told numbers are passed over."""
        trial = self._open.pop(number, None)
        last = self._last.pop(number, None)
        if trial is None:
            return
        if state is TrialState.COMPLETED and last is not None:
            self._study.tell(trial, last)
        elif state is TrialState.PRUNED:
            self._study.tell(trial, state=OptunaState.PRUNED)
        else:
            self._study.tell(trial, state=OptunaState.FAIL)


def suggest(trial: optuna.Trial, space: SearchSpace) -> Params:
    """Draws every active parameter from an Optuna trial, define-by-run: conditions see what was drawn before."""
    params: Params = {}
    for parameter in space.parameters:
        if not space.active(parameter.name, params):
            continue
        match parameter.distribution:
            case FloatParameter(low=low, high=high, log=log, step=step):
                params[parameter.name] = trial.suggest_float(parameter.name, low, high, log=log, step=step)
            case IntParameter(low=low, high=high, log=log, step=step):
                params[parameter.name] = trial.suggest_int(parameter.name, low, high, log=log, step=step or 1)
            case CategoricalParameter(choices=choices):
                params[parameter.name] = trial.suggest_categorical(parameter.name, choices)
    return params


def _sampler(algorithm: str, seed: int | None) -> BaseSampler:
    with warnings.catch_warnings():
        # multivariate and group are what conditional spaces need; Optuna calls them experimental
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        samplers: Mapping[str, Any] = {
            "tpe": lambda: TPESampler(seed=seed, multivariate=True, group=True, constant_liar=True),
            "random": lambda: RandomSampler(seed=seed),
            "gp": lambda: GPSampler(seed=seed),
            "cmaes": lambda: CmaEsSampler(seed=seed),
            "qmc": lambda: QMCSampler(seed=seed, scramble=True),
            "grid": lambda: RandomSampler(seed=seed),  # never asked: the grid is walked
        }
        sampler: BaseSampler = samplers[algorithm]()
        return sampler
