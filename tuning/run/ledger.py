"""What a runner knows of its sweep: every trial's record, why the sweep must stop, and what was not sent yet.

Plain Python: the adapters to Tune write into it from Tune's loop, a sender thread takes batches out.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from toprung.tuning.records import (
    Batch,
    CheckpointRef,
    Decision,
    Failure,
    MetricValue,
    Result,
    SweepState,
    Trial,
    TrialState,
    utc_now,
)
from toprung.tuning.run.outbox import Outbox
from toprung.tuning.run.verdict import SURE_AFTER, common_failure
from toprung.tuning.spec import SweepSpec

KEPT_CHECKPOINTS = 5
"""Finished trials whose best checkpoint is kept, best first; more would fill a disk with models nobody looks at."""


class Ledger:
    """The trials of one running sweep. Thread-safe.

    Args:
        sweep_id: the sweep's id.
        spec: its spec.
        clock: seconds, monotonic; an argument so that a test can turn it.
    """

    def __init__(self, sweep_id: str, spec: SweepSpec, clock: Callable[[], float] = time.monotonic) -> None:
        self.sweep_id = sweep_id
        self.spec = spec
        self.stop_reason: str | None = None
        """Set once: no new trial starts, and those running end."""
        self.pausing = False
        """The same, but the sweep goes on later, in another runner."""
        self.failed_of: str | None = None
        """What all of the first trials failed of: the others would, too."""
        self._clock = clock
        self._started_at = clock()
        self._lock = threading.RLock()
        self._trials: dict[int, Trial] = {}
        self._live: set[int] = set()
        self._num_ended = 0
        self._outbox = Outbox()
        self._kept: list[tuple[float, int]] = []
        self._running_since: dict[int, float] = {}
        self._gpu_s = 0.0
        self._sign = 1.0 if spec.metric.goal == "minimize" else -1.0

    def __reduce__(self) -> tuple[type[Ledger], tuple[str, SweepSpec]]:
        """Tune pickles what it is given, before it starts, for a restore that we never ask for: a copy is empty."""
        return Ledger, (self.sweep_id, self.spec)

    def take_up(self, trials: Iterable[Trial], elapsed_s: float) -> None:
        """Trials of the sweep's last runner, before the first of this one.

        Those that had a worker wait for their next attempt.

        Args:
            trials: by number, all of them.
            elapsed_s: since the sweep was started.
        """
        with self._lock:
            self._started_at -= elapsed_s
            for trial in trials:
                self._trials[trial.number] = trial
                self._gpu_s += trial.gpu_hours * 3600
                self._num_ended += trial.state.finished
                if trial.state.finished and trial.checkpoint is not None:
                    self._keep_best(trial.number, eligible=True)
                elif trial.state is TrialState.RUNNING:
                    self.lost_attempt(trial.number, f"attempt {trial.attempt} was lost with the sweep's runner")
                elif trial.state is TrialState.PENDING:
                    self._live.add(trial.number)

    # ---- trials

    def __iter__(self) -> Iterator[Trial]:
        return iter(list(self._trials.values()))

    def __getitem__(self, number: int) -> Trial:
        return self._trials[number]

    @property
    def num_trials(self) -> int:
        return len(self._trials)

    @property
    def num_live(self) -> int:
        """Trials that are pending or running; paused ones are not."""
        return len(self._live)

    def open(self, number: int, params: Mapping[str, Any], config: Mapping[str, Any], bracket: int) -> None:
        """A new trial, pending."""
        with self._lock:
            self._live.add(number)
            self._put(
                Trial(
                    sweep_id=self.sweep_id,
                    number=number,
                    state=TrialState.PENDING,
                    params=dict(params),
                    config=dict(config),
                    bracket=bracket,
                    created_at=utc_now(),
                )
            )

    def started(self, number: int) -> None:
        """A worker took the trial up: its next attempt runs."""
        with self._lock:
            trial = self._trials[number]
            self._running_since[number] = self._clock()
            self._update(
                number,
                state=TrialState.RUNNING,
                attempt=trial.attempt + 1,
                started_at=trial.started_at or utc_now(),
                reason=None,
            )

    def paused(self, number: int, reason: str) -> None:
        """It waits at a rung and holds no resources."""
        with self._lock:
            self._charge(number)
            self._live.discard(number)
            self._update(number, state=TrialState.PAUSED, reason=reason)

    def resumed(self, number: int) -> None:
        """A paused trial is wanted again: its next attempt follows."""
        with self._lock:
            self._live.add(number)
            self._update(number, state=TrialState.PENDING, reason=None)

    def lost_attempt(self, number: int, reason: str) -> None:
        """The present attempt failed and another one follows."""
        with self._lock:
            self._charge(number)
            self._live.add(number)  # it may have been lost while it was pausing
            self._update(number, state=TrialState.PENDING, reason=reason)

    def reported(
        self,
        number: int,
        step: int,
        metrics: dict[str, MetricValue],
        time_total_s: float,
        at: datetime,
        node: str | None,
    ) -> None:
        """A result; its objective, if finite, may be the trial's best so far."""
        with self._lock:
            if number in self._running_since:
                self._charge(number)
                self._running_since[number] = self._clock()
            trial = self._trials[number]
            self._outbox.results.append(
                Result(
                    number=number,
                    step=step,
                    attempt=trial.attempt,
                    reported_at=at,
                    time_total_s=time_total_s,
                    metrics=metrics,
                )
            )
            changes: dict[str, Any] = {"step": step, "metrics": metrics, "node": node}
            value = metrics.get(self.spec.metric.name)
            if isinstance(value, int | float) and self._better(float(value), trial.value):
                changes |= {"value": float(value), "best_step": step}
            self._update(number, **changes)

    def saved(self, number: int, best: CheckpointRef, last: CheckpointRef) -> None:
        """A running trial's checkpoints have changed."""
        with self._lock:
            trial = self._trials[number]
            self._outbox.give_up(trial.checkpoint, trial.resume_from, but={best, last})
            self._update(number, checkpoint=best, resume_from=last)

    def decided(self, decision: Decision) -> None:
        with self._lock:
            self._outbox.decisions.append(decision)

    def ended(
        self,
        number: int,
        state: TrialState,
        *,
        reason: str | None = None,
        failure: Failure | None = None,
    ) -> None:
        """A trial's end. Its best checkpoint is kept if it is one of the best of the sweep."""
        with self._lock:
            self._charge(number)
            self._live.discard(number)
            best, last = self._trials[number].checkpoint, self._trials[number].resume_from
            evicted = self._keep_best(number, eligible=state is not TrialState.FAILED) if best is not None else []
            self._outbox.give_up(last, but={best})
            self._outbox.give_up(*(self._trials[other].checkpoint for other in evicted))
            self._update(
                number,
                state=state,
                reason=reason,
                failure=failure,
                checkpoint=None if number in evicted else best,
                resume_from=None,
                ended_at=utc_now(),
            )
            self._outbox.dropped.extend(other for other in evicted if other != number)
            self._num_ended += 1
            if state is TrialState.FAILED and self._num_ended == SURE_AFTER:
                self.failed_of = common_failure(self._trials.values())
                if self.failed_of is not None:
                    self.stop(self.failed_of)

    # ---- the sweep's end

    def stop(self, reason: str) -> None:
        """Asks for the end of the sweep; the first reason stands."""
        with self._lock:
            self.stop_reason = self.stop_reason or reason

    @property
    def ending(self) -> bool:
        """Whether no trial may start or go on here."""
        return self.pausing or self.stop_reason is not None

    def check_budget(self) -> None:
        """Asks for the end of the sweep when its time is used up."""
        budget = self.spec.budget
        if budget.wall_time_s is not None and self._clock() - self._started_at >= budget.wall_time_s:
            self.stop(f"the budget of {budget.wall_time_s:g} s of wall time is used up")
        if budget.gpu_hours is not None and self.gpu_hours >= budget.gpu_hours:
            self.stop(f"the budget of {budget.gpu_hours:g} GPU-hours is used up")

    @property
    def gpu_hours(self) -> float:
        with self._lock:
            now = self._clock()
            running = sum(now - since for since in self._running_since.values())
            return (self._gpu_s + running * self.spec.resources.gpu) / 3600

    def outcome(self) -> tuple[SweepState, str | None]:
        """How the sweep ended, once no trial runs any more, and why; or that it is paused."""
        with self._lock:
            if self.pausing and self.stop_reason is None:
                return SweepState.PAUSED, None
            if self.failed_of is not None:
                return SweepState.FAILED, self.failed_of
            failed = [trial for trial in self._trials.values() if trial.state is TrialState.FAILED]
            if failed and len(failed) == len(self._trials):
                first = failed[0]
                assert first.failure is not None
                count = "its only trial" if len(failed) == 1 else f"all {len(failed)} trials"
                return SweepState.FAILED, f"{count} failed; trial {first.number}: {first.failure.message}"
            return SweepState.SUCCEEDED, self.stop_reason

    # ---- what is to be sent

    def warn(self, message: str) -> None:
        with self._lock:
            self._outbox.warnings.append(message)

    def take(self) -> tuple[Batch, list[CheckpointRef]] | None:
        """What has come since the last call, and the checkpoints that nobody needs once it is stored.

        None when there is nothing.
        """
        with self._lock:
            batch = self._outbox.batch(self.sweep_id)
            if batch is None:
                return None
            obsolete, self._outbox = self._outbox.obsolete, Outbox()
            return batch, obsolete

    # ---- inside

    def _better(self, value: float, best: float | None) -> bool:
        return best is None or self._sign * value < self._sign * best

    def _put(self, trial: Trial) -> None:
        self._trials[trial.number] = trial
        self._outbox.trials[trial.number] = trial

    def _update(self, number: int, **changes: Any) -> None:
        self._put(self._trials[number].model_copy(update=changes))

    def _charge(self, number: int) -> None:
        """Closes the account of the running attempt."""
        since = self._running_since.pop(number, None)
        if since is None or not self.spec.resources.gpu:
            return
        gpu_s = (self._clock() - since) * self.spec.resources.gpu
        self._gpu_s += gpu_s
        self._update(number, gpu_hours=self._trials[number].gpu_hours + gpu_s / 3600)

    def _keep_best(self, number: int, *, eligible: bool) -> list[int]:
        value = self._trials[number].value
        if not eligible or value is None:
            return [number]
        # a heap with the worst of the kept on top
        heapq.heappush(self._kept, (-self._sign * value, -number))
        if len(self._kept) <= KEPT_CHECKPOINTS:
            return []
        return [-heapq.heappop(self._kept)[1]]
