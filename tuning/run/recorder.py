"""Records what Ray Tune does with a sweep's trials.

Tune calls all of it from one loop, in this order for a result: stopper, scheduler, callback.
"""

from __future__ import annotations

import logging
from typing import Any

from ray import cloudpickle
from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial as TuneTrial

from toprung.tuning.past import told
from toprung.tuning.records import Failure, FailureKind, TrialState, utc_now
from toprung.tuning.run.adapters import SweepScheduler, number_of
from toprung.tuning.run.checkpoints import Checkpoints
from toprung.tuning.run.environment import carried_by, taken_from
from toprung.tuning.run.failure import UNEXPLAINED, failure_of, root
from toprung.tuning.run.kills import was_killed
from toprung.tuning.run.ladder import next_step
from toprung.tuning.run.ledger import Ledger
from toprung.tuning.run.metrics import metrics_of
from toprung.tuning.run.resources import Accelerators
from toprung.tuning.run.verdict import Verdict
from toprung.tuning.search import Search

logger = logging.getLogger(__name__)


class SweepStopper(Stopper):  # type: ignore[misc]
    """Ends the experiment once the ledger has a reason for it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        self._ledger.check_budget()
        return self._ledger.ending


class Recorder(Callback):  # type: ignore[misc]
    """Writes what happens to trials into the ledger, and tells the search how they ended."""

    def __init__(self, ledger: Ledger, search: Search, scheduler: SweepScheduler, checkpoints: Checkpoints) -> None:
        self._ledger = ledger
        self._search = search
        self._scheduler = scheduler
        self._checkpoints = checkpoints
        self._accelerators = Accelerators()

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._ledger.started(number_of(trial))

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        number = number_of(trial)
        has_gpu = self._ledger.resources(number).gpu > 0
        self._ledger.runs_in(number, taken_from(result))
        self._ledger.fits.take_news(result)
        self._ledger.reported(
            number,
            step=int(result["training_iteration"]),
            metrics=metrics_of(result),
            time_total_s=float(result.get("time_total_s", 0.0)),
            at=utc_now(),
            node=result.get("hostname"),
            accelerator_type=self._accelerators.on(result.get("node_ip")) if has_gpu else None,
        )

    def on_trial_save(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        """Tune keeps all checkpoints: the store must know of a later one before one is removed."""
        manager = trial.run_metadata.checkpoint_manager
        best, last = manager.best_checkpoint_result, manager.latest_checkpoint_result
        if best is None or last is None:
            return
        kept = manager.best_checkpoint_results  # the list itself, best last
        kept[:] = [last, best] if last is not best else [best]
        reference = self._checkpoints.reference
        self._ledger.saved(number_of(trial), reference(best), reference(last))

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._count(number_of(trial))
        self._scheduler.interventions.attempt_failed(trial, self._failure_of(trial))

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        number = number_of(trial)
        self._count(number)
        self.end(number, self._scheduler.interventions.end_of(number, self._failure_of(trial)))

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        number = number_of(trial)
        verdict = self._scheduler.verdicts.pop(number, None) or self._returned(number)
        if verdict[0] in (TrialState.COMPLETED, TrialState.PRUNED):
            self._scheduler.interventions.health.went_well(number)
        self.end(number, verdict)

    def end_all(self) -> None:
        """Trials that ran when the sweep was stopped: Tune ends them without a word, but their best may be the best."""
        for trial in self._ledger:
            if not trial.state.finished:
                reason = f"the sweep ended: {self._ledger.stop_reason or 'it was stopped'}"
                self.end(trial.number, (TrialState.CANCELLED, reason, None))

    def end(self, number: int, verdict: Verdict) -> None:
        """A trial is over."""
        state, reason, failure = verdict
        self._ledger.ended(number, state, reason=reason, failure=failure)
        self._search.tell(number, told(self._ledger[number]))

    def _failure_of(self, trial: TuneTrial) -> Failure:
        error = _error_of(trial)
        self._ledger.runs_in(number_of(trial), None if error is None else carried_by(root(error)))
        failure = failure_of(error)
        if failure.message != UNEXPLAINED or self._scheduler.interventions.has_killed(number_of(trial)):
            return failure
        resources, step = self._ledger.spec.resources, self._ledger[number_of(trial)].ladder_step
        climbs = next_step(resources, step, FailureKind.HOST_OOM) is not None
        if not was_killed(failure.traceback or "", matters=climbs):
            return failure
        message = "the kernel killed the worker: its control group was out of memory"
        return failure.model_copy(update={"kind": FailureKind.HOST_OOM, "message": message})

    def _count(self, number: int) -> None:
        """An attempt that failed before its first step was one: it has a log."""
        if self._ledger[number].state is TrialState.PENDING:
            self._ledger.started(number)

    def _returned(self, number: int) -> Verdict:
        step = self._ledger[number].step
        if step == 0:
            name = self._ledger.spec.metric.name
            message = f"returned without a report; call ray.tune.report({{{name!r}: …}}) at least once"
            return TrialState.FAILED, None, Failure(kind=FailureKind.USER_ERROR, message=message)
        return TrialState.COMPLETED, f"returned by itself after step {step}", None


def _error_of(trial: TuneTrial) -> BaseException | None:
    """What an attempt died of; None if it left nothing that can be read.

    From the runner's own folder: `Trial.get_pickled_error` looks in the storage, where it comes with a later sync.
    """
    try:
        with open(trial.pickled_error_file, "rb") as file:
            error: BaseException = cloudpickle.load(file)
    except Exception as unreadable:  # no file, or an exception class that can't be unpickled
        logger.warning("trial %s left no readable exception: %s", number_of(trial), unreadable)
        return None
    return error
