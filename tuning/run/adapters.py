"""Thin adapters that fit search, early stopping and recording to Ray Tune's own interfaces.

Tune calls all of them from one loop, in this order for a result: stopper, scheduler, callback.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import ray
from ray import cloudpickle
from ray.tune import Callback, Stopper
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from toprung.tuning.records import Action, CheckpointRef, Decision, Failure, FailureKind, TrialState, utc_now
from toprung.tuning.run.failure import failure_of
from toprung.tuning.run.ledger import Ledger
from toprung.tuning.run.metrics import metrics_of, objective_failure, scalar
from toprung.tuning.run.trainable import IDENTITY, can_go_on_later
from toprung.tuning.schedule import Scheduler
from toprung.tuning.search import Search

logger = logging.getLogger(__name__)

Verdict = tuple[TrialState, str | None, Failure | None]
"""How a trial ends: its state, the reason in words, the failure."""


def number_of(trial: TuneTrial) -> int:
    """The number of a Tune trial inside its sweep."""
    return int(trial.config[IDENTITY]["number"])


class SweepSearcher(Searcher):  # type: ignore[misc]
    """Asks `Search` for the next configuration when the sweep may run another trial.

    Args:
        share: how many trials the sweep may run at the moment.
        num_trials: how many it has in all; None while only time bounds it.
    """

    def __init__(
        self, ledger: Ledger, search: Search, rule: Scheduler, share: Callable[[], int], num_trials: int | None
    ) -> None:
        metric = ledger.spec.metric
        super().__init__(metric=metric.name, mode="min" if metric.goal == "minimize" else "max")
        self._ended = False
        self._ledger = ledger
        self._search = search
        self._rule = rule
        self._share = share
        self._num_trials = num_trials

    @property
    def exhausted(self) -> bool:
        """Whether no new trial will come."""
        return self._ended or (self._num_trials is not None and self._ledger.num_trials >= self._num_trials)

    @property
    def has_place(self) -> bool:
        """Whether the sweep may run one more trial at the moment."""
        return self._ledger.num_live < self._share()

    def suggest(self, trial_id: str) -> Any:
        ledger = self._ledger
        number = ledger.num_trials
        if ledger.stop_reason is not None or self.exhausted:
            return Searcher.FINISHED
        # a paused trial that may go on comes before a new one
        if not self.has_place or self._rule.next_up() is not None:
            return None
        params = self._search.ask(number)
        if params is None:
            self._ended = True
            return Searcher.FINISHED
        config = ledger.spec.space.config(params)
        ledger.open(number, params, config, self._rule.bracket(number))
        return {**config, IDENTITY: {"number": number, "attempt": 1}}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the recorder tells the search, it knows how the trial ended."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is the truth, not Tune's experiment state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, see `save`."""


class SweepScheduler(FIFOScheduler):  # type: ignore[misc]
    """Pauses or stops a trial as the sweep's rule decides; stops one that reached `max_t`, or that can't be compared.

    Args:
        pausable: whether trials can be resumed; None: if they report checkpoints.

    Attributes:
        verdicts: by trial number, how a trial that was stopped here ends.
    """

    def __init__(
        self, ledger: Ledger, search: Search, rule: Scheduler, searcher: SweepSearcher, pausable: bool | None
    ) -> None:
        super().__init__()
        self._ledger = ledger
        self._search = search
        self._rule = rule
        self._searcher = searcher
        self._pausable = pausable
        self._trials: dict[int, TuneTrial] = {}
        self.verdicts: dict[int, Verdict] = {}

    def on_trial_add(self, tune_controller: Any, trial: TuneTrial) -> None:
        self._trials[number_of(trial)] = trial

    def on_trial_remove(self, tune_controller: Any, trial: TuneTrial) -> None:
        self._forget(trial)

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> None:
        self._forget(trial)

    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        self._forget(trial)

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        number, spec = number_of(trial), self._ledger.spec
        step = int(result["training_iteration"])
        failure = objective_failure(spec.metric, step, result)
        if failure is not None:
            return self._stop(number, (TrialState.FAILED, None, failure))
        value = float(scalar(result[spec.metric.name]))
        self._search.observe(number, step, value)
        if self._rule.mode == "promote":
            self._check_pausable(trial, result)
        record = self._ledger[number]
        decision = self._rule.decide(number, record.attempt, record.bracket, step, value)
        if decision is not None:
            self._ledger.decided(decision)
        if spec.metric.reached(value):
            self._ledger.stop(f"the target {spec.metric.target:g} was reached by trial {number} at step {step}")
            return self._stop(number, (TrialState.COMPLETED, f"reached the target {spec.metric.target:g}", None))
        max_t = spec.scheduler.max_t
        if max_t is not None and step >= max_t:
            return self._stop(number, (TrialState.COMPLETED, f"reached max_t, {max_t} steps", None))
        if decision is None or decision.action is Action.PROMOTE:
            return str(TrialScheduler.CONTINUE)
        if decision.action is Action.PAUSE:
            self._ledger.paused(number, self._rule.in_words(decision))
            return str(TrialScheduler.PAUSE)
        return self._stop(number, (TrialState.PRUNED, self._rule.in_words(decision), None))

    def choose_trial_to_run(self, tune_controller: Any) -> TuneTrial | None:
        """A paused trial whose turn it is. Pending ones need no choice: Tune starts them in their order."""
        if self._ledger.stop_reason is not None or not self._searcher.has_place:
            return None
        if self._searcher.exhausted:
            self._rule.no_more_trials()
        number = self._rule.next_up()
        if number is not None:
            # one that was just told to pause still saves its checkpoint
            return self._resume(self._rule.promote()) if self._trials[number].status == TuneTrial.PAUSED else None
        if self._searcher.exhausted and self._ledger.num_live == 0:
            self._dismiss(tune_controller)
        return None

    def _dismiss(self, tune_controller: Any) -> None:
        """Nothing runs and nothing new comes: Tune would wait for the paused trials for ever."""
        if any(self._trials[number].status != TuneTrial.PAUSED for number in self._rule.waiting()):
            return
        for decision in self._rule.dismiss():
            self._ledger.decided(decision)
            self.verdicts[decision.number] = (TrialState.PRUNED, self._rule.in_words(decision), None)
            tune_controller.stop_trial(self._trials[decision.number])

    def _resume(self, decision: Decision | None) -> TuneTrial:
        assert decision is not None
        self._ledger.decided(decision)
        self._ledger.resumed(decision.number)
        trial = self._trials[decision.number]
        trial.config[IDENTITY]["attempt"] = self._ledger[decision.number].attempt + 1
        return trial

    def _check_pausable(self, trial: TuneTrial, result: dict[str, Any]) -> None:
        """Without a checkpoint a trial would begin anew: the sweep then stops trials instead."""
        step = int(result["training_iteration"])
        if not self._rule.is_rung(self._ledger[number_of(trial)].bracket, step):
            return
        if can_go_on_later(self._pausable, trial, result):
            return
        self._rule.give_up_pausing()
        self._ledger.warn(
            f"trials are stopped at rungs instead of paused (scheduler.mode: stop): trial {number_of(trial)} had "
            f"reported no checkpoint by step {step}, so it could not go on later. Report one with the result at each "
            "rung: tune.report(metrics, checkpoint=…)."
        )

    def _forget(self, trial: TuneTrial) -> None:
        number = number_of(trial)
        self._trials.pop(number, None)
        self._rule.leave(number)

    def _stop(self, number: int, verdict: Verdict) -> str:
        self.verdicts[number] = verdict
        return str(TrialScheduler.STOP)


class SweepStopper(Stopper):  # type: ignore[misc]
    """Ends the experiment once the ledger has a reason for it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        return False

    def stop_all(self) -> bool:
        self._ledger.check_budget()
        return self._ledger.stop_reason is not None


class Recorder(Callback):  # type: ignore[misc]
    """Writes what happens to trials into the ledger, tells the search how they ended, removes checkpoints not kept."""

    def __init__(self, ledger: Ledger, search: Search, scheduler: SweepScheduler) -> None:
        self._ledger = ledger
        self._search = search
        self._scheduler = scheduler
        self._kept: dict[int, ray.tune.Checkpoint] = {}

    def on_trial_start(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._ledger.started(number_of(trial))

    def on_trial_result(
        self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, result: dict[str, Any], **info: Any
    ) -> None:
        self._ledger.reported(
            number_of(trial),
            step=int(result["training_iteration"]),
            metrics=metrics_of(result),
            time_total_s=float(result.get("time_total_s", 0.0)),
            at=utc_now(),
            node=result.get("hostname"),
        )

    def on_trial_recover(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        failure = failure_of(_error_of(trial))
        identity = trial.config[IDENTITY]
        self._ledger.lost_attempt(
            identity["number"], f"attempt {identity['attempt']} failed: {failure.message}; tried again"
        )
        identity["attempt"] += 1

    def on_trial_error(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        self._end(trial, (TrialState.FAILED, None, failure_of(_error_of(trial))))

    def on_trial_complete(self, iteration: int, trials: list[TuneTrial], trial: TuneTrial, **info: Any) -> None:
        number = number_of(trial)
        verdict = self._scheduler.verdicts.pop(number, None)
        self._end(trial, verdict or self._returned(number))

    def on_experiment_end(self, trials: list[TuneTrial], **info: Any) -> None:
        """Trials that ran when the sweep was stopped: Tune ends them without a word, but their best may be the best."""
        for trial in trials:
            if not self._ledger[number_of(trial)].state.finished:
                reason = f"the sweep ended: {self._ledger.stop_reason or 'it was stopped'}"
                self._end(trial, (TrialState.CANCELLED, reason, None))

    def _returned(self, number: int) -> Verdict:
        step = self._ledger[number].step
        if step == 0:
            name = self._ledger.spec.metric.name
            message = f"returned without a report; call ray.tune.report({{{name!r}: …}}) at least once"
            return TrialState.FAILED, None, Failure(kind=FailureKind.USER_ERROR, message=message)
        return TrialState.COMPLETED, f"returned by itself after step {step}", None

    def _end(self, trial: TuneTrial, verdict: Verdict) -> None:
        state, reason, failure = verdict
        number = number_of(trial)
        manager = trial.run_metadata.checkpoint_manager
        best, latest = manager.best_checkpoint_result, manager.latest_checkpoint_result
        reference = None
        if best is not None:
            self._kept[number] = best.checkpoint
            reference = CheckpointRef(step=int(best.metrics["training_iteration"]), path=best.checkpoint.path)
        if latest is not None and latest is not best:
            _remove(latest.checkpoint)
        for other in self._ledger.ended(number, state, reason=reason, failure=failure, checkpoint=reference):
            _remove(self._kept.pop(other))
        self._search.tell(number, _told(state, failure))


def _told(state: TrialState, failure: Failure | None) -> TrialState:
    """What the search is told: a lost node says nothing about a configuration."""
    return TrialState.CANCELLED if failure is not None and failure.kind.lost else state


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


def _remove(checkpoint: ray.tune.Checkpoint) -> None:
    checkpoint.filesystem.delete_dir(checkpoint.path)
