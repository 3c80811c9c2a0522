"""What a runner knows of its sweep: every trial's record, why the sweep must stop, and what was not sent yet.

Plain Python: the adapters to Tune write into it from Tune's loop, a sender thread takes batches out.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from toprung.tuning.fits import Fits
from toprung.tuning.orders import Orders, TrialRequest, price
from toprung.tuning.records import (
    Batch,
    CheckpointRef,
    Decision,
    Failure,
    MetricValue,
    Result,
    RunEnvironment,
    SweepState,
    Trial,
    TrialState,
    utc_now,
)
from toprung.tuning.run.agenda import Agenda
from toprung.tuning.run.environment import AttemptNote
from toprung.tuning.run.meter import Meter, Used
from toprung.tuning.run.outbox import Outbox
from toprung.tuning.run.verdict import SURE_AFTER, Plateau, all_failed, common_failure
from toprung.tuning.spec import Resources, SweepSpec

KEPT_CHECKPOINTS = 5
"""Finished trials whose best checkpoint is kept, best first; more would fill a disk with models nobody looks at."""


class Ledger:
    """The trials of one running sweep. Thread-safe.

    Args:
        sweep_id: the sweep's id.
        spec: its spec; `direct` may bring an edited one.
        clock: seconds, monotonic; an argument so that a test can turn it.
    """

    def __init__(self, sweep_id: str, spec: SweepSpec, clock: Callable[[], float] = time.monotonic) -> None:
        self.sweep_id = sweep_id
        self.stop_reason: str | None = None
        """Set once: no new trial starts, and those running end."""
        self.pausing = False
        """The same, but the sweep goes on later, in another runner."""
        self.failed_of: str | None = None
        """What all of the first trials failed of: the others would, too."""
        self._meter = Meter(clock)
        self._lock = threading.RLock()
        self.agenda = Agenda(Orders(spec=spec, revision=0), self._lock)
        """What the sweep is to do."""
        self._trials: dict[int, Trial] = {}
        self._live: set[int] = set()
        self.displaced: deque[int] = deque()
        """Trials that made room for other sweeps; they go on before new ones begin."""
        self._num_ended = 0
        self._outbox = Outbox()
        self.fits = Fits()
        """What trials found out to fit into memory."""
        self._kept: list[tuple[float, int]] = []
        self._torn: set[int] = set()
        """Trials of which an attempt was lost, maybe while it saved a checkpoint."""
        self._plateau = Plateau()
        self._environments: dict[str, str] = {}
        """Keys of the surroundings that were told, by their text."""
        self._sign = 1.0 if spec.metric.goal == "minimize" else -1.0

    def __reduce__(self) -> tuple[type[Ledger], tuple[str, SweepSpec]]:
        """Tune pickles what it is given, before it starts, for a restore that we never ask for: a copy is empty."""
        return Ledger, (self.sweep_id, self.spec)

    @property
    def spec(self) -> SweepSpec:
        """As last edited."""
        return self.agenda.orders.spec

    def to_stop(self) -> list[int]:
        """Trials that users want to end, and that have not ended."""
        wanted = self.agenda.orders.stopping
        return [n for n in wanted if n in self._trials and not self._trials[n].state.finished]

    def take_up(self, trials: Iterable[Trial], elapsed_s: float) -> None:
        """Trials of the sweep's last runner, before the first of this one.

        Those that had a worker wait for their next attempt.

        Args:
            trials: by number, all of them.
            elapsed_s: since the sweep was started.
        """
        with self._lock:
            trials = list(trials)
            self._meter.take_up(elapsed_s, trials)
            self._plateau.take_up(trials, self._sign)
            for trial in trials:
                self._trials[trial.number] = trial
                self.agenda.begun(trial)
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

    def resources(self, number: int) -> Resources:
        """What a trial has, or waits for."""
        return self.spec.resources.at(self._trials[number].ladder_step)

    @property
    def live(self) -> list[int]:
        """The numbers of trials that are pending or running."""
        return list(self._live)

    def open(
        self,
        number: int,
        params: Mapping[str, Any],
        config: Mapping[str, Any],
        bracket: int,
        request: TrialRequest | None = None,
    ) -> None:
        """A new trial, pending; `request` where a user asked for it."""
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
                    request_id=request and request.id,
                    retry_of=request and request.retry_of,
                )
            )
            self.agenda.begun(self._trials[number])

    def started(self, number: int) -> None:
        """A worker took the trial up: its next attempt runs."""
        with self._lock:
            trial = self._trials[number]
            resources = self.resources(number)
            self._meter.start(number, resources.gpus, self._price(resources, None))
            self._update(
                number,
                state=TrialState.RUNNING,
                attempt=trial.attempt + 1,
                started_at=trial.started_at or utc_now(),
                reason=None,
            )

    def runs_in(self, number: int, note: AttemptNote | None) -> None:
        """With what seed and in what surroundings the present attempt runs, where the worker says it."""
        if note is None:
            return
        with self._lock:
            key = self._environments.get(note.environment)
            if key is None:
                of_code = {"code": self.spec.code, "git": self.spec.git}
                environment = RunEnvironment.model_validate_json(note.environment).model_copy(update=of_code)
                key = self._environments[note.environment] = environment.key
                self._outbox.environments.append(environment)
            self._update(number, seed=note.seed, environment=key)

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
        """The present attempt was lost and another one follows."""
        with self._lock:
            self._charge(number)
            self._take_its_turn(number)
            self._torn.add(number)
            self._live.add(number)  # it may have been lost while it was pausing
            self._update(number, state=TrialState.PENDING, reason=reason)

    def release_all(self, reason: str) -> None:
        """What runs stops here, to go on in another runner; it has used what it has used."""
        for trial in self:
            if trial.state is TrialState.RUNNING:
                self.lost_attempt(trial.number, reason)

    def failed_attempt(self, number: int, failure: Failure) -> bool:
        """The present attempt failed. Returns whether another one follows: where the machine was at fault, always."""
        with self._lock:
            trial = self._trials[number]
            num_failures = trial.num_failures + (not failure.kind.lost)
            if num_failures > self.spec.failures.max_retries:
                return False
            self.lost_attempt(number, f"attempt {trial.attempt} failed: {failure.message}; tried again")
            self._update(number, num_failures=num_failures)
            return True

    def climbed(self, number: int, failure: Failure, step: int, with_what: str) -> None:
        """Its memory ran out: another attempt follows, at a higher step of the ladder. That is no retry."""
        with self._lock:
            attempt = self._trials[number].attempt
            self.lost_attempt(number, f"attempt {attempt} failed: {failure.message}; tried again with {with_what}")
            self._update(number, ladder_step=step)

    def made_room(self, number: int, reason: str = "made room for another sweep") -> None:
        """It gave up its place, or its place in the queue, and waits for one; it holds no resources."""
        with self._lock:
            self._charge(number)
            self._live.discard(number)
            self.displaced.append(number)
            self._update(number, state=TrialState.PENDING, reason=reason)

    def overdue(self) -> list[tuple[int, str, bool]]:
        """Running attempts that take too long: the trial, what is wrong, whether no other attempt may follow."""
        with self._lock:
            return list(self._meter.overdue(self.spec.failures))

    def reported(
        self,
        number: int,
        step: int,
        metrics: dict[str, MetricValue],
        time_total_s: float,
        at: datetime,
        node: str | None,
        accelerator_type: str | None = None,
    ) -> None:
        """A result; its objective, if finite, may be the trial's best so far."""
        with self._lock:
            trial = self._trials[number]
            used = self._meter.charge(
                number,
                steps=max(0, step - trial.step),
                price=self._price(self.resources(number), accelerator_type),
            )
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
            changes |= _charged(trial, used)
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
            self._take_its_turn(number)
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
            if number in self._torn or state in (TrialState.FAILED, TrialState.CANCELLED):
                self._torn.discard(number)
                self._outbox.torn[number] = [] if best is None or number in evicted else [best]
            self._num_ended += 1
            stagnant = self._plateau.ended(self._trials[number], self._sign)
            patience, proposed = self.spec.stop_when.no_improvement_trials, self._trials[number].request_id is None
            if patience is not None and stagnant >= patience and proposed and self.agenda.next_request() is None:
                self.stop(f"the last {stagnant} trials brought nothing better (stop_when.no_improvement_trials)")
            if state is TrialState.FAILED and self._num_ended == SURE_AFTER:
                self.failed_of = common_failure(self._trials.values())
                if self.failed_of is not None:
                    self.stop(self.failed_of)

    # ---- the sweep's end

    def stop(self, reason: str) -> None:
        """Asks for the end of the sweep; the first reason stands."""
        with self._lock:
            self.agenda.close()
            self.stop_reason = self.stop_reason or reason

    @property
    def ending(self) -> bool:
        """Whether no trial may start or go on here."""
        return self.pausing or self.stop_reason is not None

    def check_budget(self) -> None:
        """Asks for the end of the sweep when something of its budget is used up."""
        with self._lock:
            reached, reason = self._meter.spent(self.spec)
            self._outbox.milestones.extend(reached)
            if reason is not None:
                self.stop(reason)

    @property
    def gpu_hours(self) -> float:
        with self._lock:
            return self._meter.used().gpu_hours

    def outcome(self) -> tuple[SweepState, str | None]:
        """How the sweep ended, once no trial runs any more, and why; or that it is paused."""
        with self._lock:
            if self.pausing and self.stop_reason is None:
                return SweepState.PAUSED, None
            failure = self.failed_of or all_failed(self._trials.values())
            return (SweepState.SUCCEEDED, self.stop_reason) if failure is None else (SweepState.FAILED, failure)

    # ---- what is to be sent

    def warn(self, message: str) -> None:
        with self._lock:
            self._outbox.warnings.append(message)

    def take(self) -> tuple[Batch, Outbox] | None:
        """What has come since the last call: what is to be sent, and all, for what is to be done once that is stored.

        None when there is nothing.
        """
        with self._lock:
            batch = self._outbox.batch(self.sweep_id)
            if batch is None:
                return None
            taken, self._outbox = self._outbox, Outbox()
            return batch, taken

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
        changes = _charged(self._trials[number], self._meter.end(number))
        if changes:
            self._update(number, **changes)

    def _price(self, resources: Resources, accelerator_type: str | None) -> float:
        """Of a GPU-hour on a node with such GPUs; of an unknown type the spec may say it."""
        return price(self.agenda.orders.prices, accelerator_type or resources.accelerator_type) or 0.0

    def _take_its_turn(self, number: int) -> None:
        """It waits no longer for the place that it gave up."""
        if number in self.displaced:
            self.displaced.remove(number)

    def _keep_best(self, number: int, *, eligible: bool) -> list[int]:
        value = self._trials[number].value
        if not eligible or value is None:
            return [number]
        # a heap with the worst of the kept on top
        heapq.heappush(self._kept, (-self._sign * value, -number))
        if len(self._kept) <= KEPT_CHECKPOINTS:
            return []
        return [-heapq.heappop(self._kept)[1]]


def _charged(trial: Trial, used: Used) -> dict[str, float]:
    if not used.gpu_hours:
        return {}
    return {"gpu_hours": trial.gpu_hours + used.gpu_hours, "cost": trial.cost + used.cost}
