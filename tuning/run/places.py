"""Tune's queue for places on the cluster. Ray gives a free one to who asked first, whatever the shares."""

from __future__ import annotations

import functools
from typing import Any

from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as TuneTrial


def let_others_be_asked() -> None:
    """From now on Tune waits for a new trial no longer than a moment before it goes on with the rest of its loop.

    Where nothing runs and nothing may be begun, as with a share of 0, it would wait for ten minutes, and keep the
    worker of the last trial that long.
    """
    ask = TuneController._update_trial_queue

    @functools.wraps(ask)
    def briefly(self: TuneController, blocking: bool = False, timeout: float = 0.0) -> bool:
        return bool(ask(self, blocking=blocking, timeout=0))

    TuneController._update_trial_queue = briefly


def waits_for_a_place(tune_controller: Any, trial: TuneTrial) -> bool:
    """Whether the trial has asked Ray for a place and was not given one yet."""
    actor = tune_controller._trial_to_actor.get(trial)
    return trial.status == TuneTrial.PENDING and actor in tune_controller._actor_manager._pending_actors_to_attrs


def step_back(tune_controller: Any, trial: TuneTrial) -> None:
    """Takes such a trial out of the queue: it is paused, and can be chosen to run again."""
    tune_controller._unstage_trial_with_resources(trial)
    tune_controller._schedule_trial_pause(trial, should_checkpoint=False)
