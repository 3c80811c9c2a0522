"""What ends attempts of trials besides their own end and the rule of early stopping: users, time limits, errors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import ray
from ray.tune.experiment import Trial as TuneTrial

from toprung.tuning.records import Failure, FailureKind, TrialState
from toprung.tuning.run.ledger import Ledger
from toprung.tuning.run.trainable import IDENTITY
from toprung.tuning.run.verdict import Verdict

logger = logging.getLogger(__name__)

_STOPPED: Verdict = (TrialState.CANCELLED, "stopped by the user", None)


class Interventions:
    """Ends trials from outside of them.

    A running attempt is killed, not asked: what is to end often hangs. Tune takes that for a failure, of which
    `attempt_failed` knows better.

    Args:
        trials: by number, those that Tune has.
        verdicts: by number, how trials end that Tune is told to stop.
    """

    def __init__(self, ledger: Ledger, trials: Mapping[int, TuneTrial], verdicts: dict[int, Verdict]) -> None:
        self._ledger = ledger
        self._trials = trials
        self._verdicts = verdicts
        self._killed: dict[int, Verdict | Failure] = {}
        self._over: list[TuneTrial] = []

    def carry_out(self, tune_controller: Any) -> None:
        """Does what has become necessary since the last call; between two events of Tune's loop."""
        while self._over:
            tune_controller.stop_trial(self._over.pop())
        for number in self._ledger.to_stop():
            trial = self._trials.get(number)
            if trial is None or number in self._killed:
                continue
            if trial.status == TuneTrial.RUNNING:
                self._kill(number, trial, _STOPPED)
            else:
                self._end_waiting(tune_controller, number, trial, _STOPPED)
        for number, message, final in self._ledger.overdue():
            trial = self._trials.get(number)
            if trial is not None and number not in self._killed and trial.status == TuneTrial.RUNNING:
                failure = Failure(kind=FailureKind.TIMEOUT, message=message)
                self._kill(number, trial, (TrialState.FAILED, None, failure) if final else failure)

    def attempt_failed(self, trial: TuneTrial, failure: Failure) -> None:
        """Tune is about to try again. Decides whether it does.

        Args:
            trial: whose attempt failed.
            failure: as it looks from outside.
        """
        identity = trial.config[IDENTITY]
        number = identity["number"]
        why = self._killed.pop(number, failure)
        if isinstance(why, Failure):
            if self._ledger.failed_attempt(number, why):
                identity["attempt"] += 1
                return
            why = (TrialState.FAILED, None, why)
        self._verdicts[number] = why
        self._over.append(trial)

    def end_of(self, number: int, failure: Failure) -> Verdict:
        """How a trial ends that Tune doesn't try again."""
        why = self._killed.pop(number, failure)
        return (TrialState.FAILED, None, why) if isinstance(why, Failure) else why

    def _kill(self, number: int, trial: TuneTrial, why: Verdict | Failure) -> None:
        actor = trial.temporary_state.ray_actor
        if actor is None:  # between two workers: the next round finds it in one
            return
        logger.info("trial %d is ended: %s", number, why)
        self._killed[number] = why
        ray.kill(actor)

    def _end_waiting(self, tune_controller: Any, number: int, trial: TuneTrial, verdict: Verdict) -> None:
        self._verdicts[number] = verdict
        if trial in tune_controller._staged_trials:  # else Tune keeps a worker for it
            tune_controller._unstage_trial_with_resources(trial)
        tune_controller.stop_trial(trial)
