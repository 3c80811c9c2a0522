"""A sweep that grows in a store as a runner makes it grow: the real search and early stopping, on made-up curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toprung.serve.store import Store
from toprung.tuning.plan import compared_at, num_trials
from toprung.tuning.records import Action, Batch, Decision, Result, Sweep, SweepState, Trial, TrialState, utc_now
from toprung.tuning.schedule import scheduler_of
from toprung.tuning.search import Search
from toprung.tuning.simulate.curves import PowerLaw
from toprung.tuning.spec import SweepSpec, spec_from

SPEC: dict[str, Any] = {
    "name": "digits-cnn",
    "trainable": "train:train_digits",
    "metric": {"name": "val_loss", "goal": "minimize"},
    "parameters": {
        "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
        "batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]},
        "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
        "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": "sgd"}},
        "model": {"l1": {"type": "int", "low": 4, "high": 256, "log": True}},
        "epochs": 27,
    },
    "search": {"algorithm": "random", "seed": 7},
    "scheduler": {"type": "asha", "max_t": 27, "mode": "promote"},
    "budget": {"trials": 60},
}
_STATES = {Action.PAUSE: TrialState.PAUSED, Action.STOP: TrialState.PRUNED}


class Growing:
    """Trials in turns, `workers` at a time; each turn of a trial is one result."""

    def __init__(self, store: Store, *, workers: int = 4, seed: int = 3, **changes: Any) -> None:
        self._store = store
        self.spec: SweepSpec = spec_from({**SPEC, **changes})
        assert self.spec.name is not None
        made, _ = store.create_sweep(self.spec, name=self.spec.name, num_trials=num_trials(self.spec))
        self.id = made.id
        store.set_sweep_state(self.id, SweepState.RUNNING)
        self._workers = workers
        self._search = Search(self.spec.space, "minimize", self.spec.search, compared_at(self.spec.scheduler))
        self._scheduler = scheduler_of(self.spec.scheduler, "minimize", self.spec.search.seed)
        self._curve = PowerLaw().curve(self.spec, seed)
        self._curves: dict[int, Sequence[float]] = {}
        self._running: list[Trial] = []
        self._waiting: dict[int, Trial] = {}
        self._begun = 0

    @property
    def sweep(self) -> Sweep:
        """As it is in the store."""
        return self._store.get_sweep(self.id)

    def grow(self, results: int) -> None:
        """So many results more, as far as the budget goes; then the sweep has succeeded."""
        for _ in range(results):
            while len(self._running) < self._workers and (begun := self._next()) is not None:
                self._running.append(begun)
            if not self._running:
                self._store.set_sweep_state(self.id, SweepState.SUCCEEDED)
                return
            after = self._step(self._running.pop(0))
            if after.state is TrialState.RUNNING:
                self._running.append(after)
            elif after.state is TrialState.PAUSED:
                self._waiting[after.number] = after

    def _next(self) -> Trial | None:
        if (promoted := self._scheduler.promote()) is not None:
            return self._promoted(promoted)
        assert self.spec.budget.trials is not None
        params = self._search.ask(self._begun) if self._begun < self.spec.budget.trials else None
        if params is None:
            self._scheduler.no_more_trials()
            promoted = self._scheduler.promote()
            return None if promoted is None else self._promoted(promoted)
        number, self._begun = self._begun, self._begun + 1
        self._curves[number] = [float(value) for value in self._curve(number, params)]
        now = utc_now()
        trial = Trial(
            sweep_id=self.id,
            number=number,
            state=TrialState.RUNNING,
            params=params,
            config=self.spec.space.config(params),
            attempt=1,
            bracket=self._scheduler.bracket(number),
            node="node-1",
            created_at=now,
            started_at=now,
        )
        self._store.write(Batch(sweep_id=self.id, trials=[trial]))
        return trial

    def _promoted(self, decision: Decision) -> Trial:
        waited = self._waiting.pop(decision.number)
        changes = {"state": TrialState.RUNNING, "attempt": waited.attempt + 1, "reason": None}
        trial = waited.model_copy(update=changes)
        self._store.write(Batch(sweep_id=self.id, trials=[trial], decisions=[decision]))
        return trial

    def _step(self, trial: Trial) -> Trial:
        step = trial.step + 1
        value = self._curves[trial.number][step - 1]
        metrics = {self.spec.metric.name: value, "accuracy": 1 - value / 2, "memory/rss_mb": 300 + 4 * step}
        self._search.observe(trial.number, step, value)
        decision = self._scheduler.decide(trial.number, trial.attempt, trial.bracket, step, value)
        better = trial.value is None or value < trial.value
        changes: dict[str, Any] = {"step": step, "metrics": metrics}
        if better:
            changes |= {"value": value, "best_step": step}
        if step == len(self._curves[trial.number]):
            changes |= {"state": TrialState.COMPLETED, "ended_at": utc_now()}
            self._search.tell(trial.number, TrialState.COMPLETED)
        elif decision is not None and decision.action in _STATES:
            changes |= {"state": _STATES[decision.action], "reason": self._scheduler.in_words(decision)}
        after = trial.model_copy(update=changes)
        result = Result(
            number=trial.number,
            step=step,
            attempt=trial.attempt,
            reported_at=utc_now(),
            time_total_s=1.5 * step,
            metrics=metrics,
        )
        decisions = [] if decision is None else [decision]
        self._store.write(Batch(sweep_id=self.id, trials=[after], results=[result], decisions=decisions))
        return after
