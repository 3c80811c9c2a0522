"""Workers that fail to take up another trial."""

from __future__ import annotations

import functools
from typing import Any

from ray.exceptions import RayActorError
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as TuneTrial


def let_failed_resets_be_attempts() -> None:
    """From now on such a trial has failed in an attempt, and may be tried again in another worker.

    As long as a worker that had another trial before is reset, Tune 2.60 takes the trial for one that never ran. Where
    that raises, it ends the trial, however often it may fail. Where the process dies, it hears of it twice (as the end
    of a worker and as that of a call), and takes the trial for one that is being reset for ever.
    """
    schedule = TuneController._schedule_trial_task

    @functools.wraps(schedule)
    def understood(self: TuneController, trial: TuneTrial, method_name: str, *args: Any, **kwargs: Any) -> Any:
        if method_name == "reset":
            kwargs["on_error"] = functools.partial(_failed, self)
        return schedule(self, trial, method_name, *args, **kwargs)

    TuneController._schedule_trial_task = understood


def _failed(tune_controller: TuneController, trial: TuneTrial, error: Exception) -> None:
    tune_controller._resetting_trials.discard(trial)
    if isinstance(error, RayActorError):  # Tune has heard of it, and waits for another worker
        return
    tune_controller._set_trial_status(trial, TuneTrial.RUNNING)  # else it could not be tried again
    tune_controller._unstage_trial_with_resources(trial)
    tune_controller._trial_task_failure(trial, error)
