"""Ray Tune's own ASHAScheduler and OptunaSearch as a strategy of the simulator: their real classes, in virtual time."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import optuna
from ray.tune.schedulers import ASHAScheduler, TrialScheduler
from ray.tune.search.optuna import OptunaSearch

from peers.optuna_study import suggest
from toprung.tuning.records import Action
from toprung.tuning.spec import SearchSpace


class _Trial:
    """What ASHAScheduler looks at of a trial."""

    def __init__(self, number: int) -> None:
        self.trial_id = str(number)


class RayTune:
    """ASHA and OptunaSearch as a user of Ray Tune sets them up, asked and told as its driver does.

    Args:
        space: what is varied; given to Optuna define-by-run, as conditions need.
        max_t, grace_period, reduction_factor: ASHA's.
        seed: Optuna's; the brackets of Ray's ASHA come from numpy's global generator, which is seeded too.
    """

    def __init__(self, space: SearchSpace, max_t: int, grace_period: int, reduction_factor: int, seed: int) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        np.random.seed(seed)
        self._scheduler = ASHAScheduler(
            metric="loss", mode="min", max_t=max_t, grace_period=grace_period, reduction_factor=reduction_factor
        )
        self._searcher = OptunaSearch(space=partial(suggest, space), metric="loss", mode="min", seed=seed)
        self._trials: dict[int, _Trial] = {}

    def next_trial(self, number: int) -> tuple[int, dict[str, Any]] | None:
        trial = self._trials[number] = _Trial(number)
        self._scheduler.on_trial_add(None, trial)
        return number, dict(self._searcher.suggest(trial.trial_id))

    def report(self, number: int, step: int, value: float, last: bool) -> Action:
        trial, result = self._trials[number], {"loss": value, "training_iteration": step}
        decision = self._scheduler.on_trial_result(None, trial, result)
        if decision != TrialScheduler.STOP and not last:
            self._searcher.on_trial_result(trial.trial_id, result)
            return Action.PROMOTE
        self._scheduler.on_trial_complete(None, trial, result)
        self._searcher.on_trial_complete(trial.trial_id, result)
        return Action.STOP
