"""Syne Tune's asynchronous successive halving with its searchers, asked and told as its Tuner does.

Its spaces have no conditions: a trial is given all parameters, and ignores those that do not exist for it, as a user
of Syne Tune would write it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import datetime
from functools import partial
from typing import Any

import numpy as np
from syne_tune import config_space
from syne_tune.backend.trial_status import Trial
from syne_tune.optimizer.baselines import ASHA, ASHABORE, ASHACQR, BOHB
from syne_tune.optimizer.scheduler import SchedulerDecision, TrialScheduler

from toprung.tuning.records import Action
from toprung.tuning.spec import CategoricalParameter, Distribution, FloatParameter, IntParameter, SearchSpace


class SyneTune:
    """A scheduler that stops trials, one bracket.

    Args:
        scheduler: of `syne_tune.optimizer.baselines`.
    """

    def __init__(
        self,
        scheduler: Callable[..., TrialScheduler],
        space: SearchSpace,
        max_t: int,
        grace: int,
        eta: int,
        seed: int,
    ) -> None:
        logging.getLogger("syne_tune").setLevel(logging.ERROR)
        np.random.seed(seed)  # BORE and CQR draw from the global generator too
        self._space = space
        self._scheduler = scheduler(
            config_space={p.name: _domain(p.distribution) for p in space.parameters},
            metric="loss",
            time_attr="epoch",
            max_t=max_t,
            grace_period=grace,
            reduction_factor=eta,
            random_seed=seed,
        )
        self._trials: dict[int, Trial] = {}

    def next_trial(self, number: int) -> tuple[int, dict[str, Any]] | None:
        suggestion = self._scheduler.suggest()
        if suggestion is None:
            return None
        trial = self._trials[number] = Trial(number, suggestion.config, datetime.now())
        self._scheduler.on_trial_add(trial)
        params: dict[str, Any] = {}
        for parameter in self._space.parameters:
            if self._space.active(parameter.name, params):
                params[parameter.name] = suggestion.config[parameter.name]
        return number, params

    def report(self, number: int, step: int, value: float, last: bool) -> Action:
        trial, result = self._trials[number], {"loss": value, "epoch": step}
        if self._scheduler.on_trial_result(trial, result) != SchedulerDecision.STOP:
            assert not last, "it stops trials at max_t"
            return Action.PROMOTE
        self._scheduler.on_trial_remove(trial)
        del self._trials[number]
        return Action.STOP


asha, bohb, bore, cqr = (partial(SyneTune, scheduler) for scheduler in (ASHA, BOHB, ASHABORE, ASHACQR))
"""Random search; kernel densities; density ratios by gradient boosting; conformal quantile regression."""


def _domain(distribution: Distribution) -> Any:
    match distribution:
        case FloatParameter(low=low, high=high, log=log, step=None):
            return config_space.loguniform(low, high) if log else config_space.uniform(low, high)
        case IntParameter(low=low, high=high, log=log, step=None):
            return config_space.lograndint(low, high) if log else config_space.randint(low, high)
        case CategoricalParameter(choices=choices):
            return config_space.choice(list(choices))
    raise ValueError("a step can't be expressed")
