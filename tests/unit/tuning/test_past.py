"""A sweep that is taken up again proposes and decides as one that nobody disturbed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toprung.tuning.past import Past, Reported, bring_back, steps_needed
from toprung.tuning.plan import compared_at
from toprung.tuning.records import Action, Decision, Failure, FailureKind, Trial, TrialState
from toprung.tuning.schedule import Scheduler, scheduler_of
from toprung.tuning.search import Search
from toprung.tuning.spec import SweepSpec, spec_from

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SCHEDULERS: dict[str, dict[str, Any]] = {
    "stop": {"type": "asha", "max_t": 9, "grace_period": 1, "reduction_factor": 3, "mode": "stop"},
    "promote": {"type": "asha", "max_t": 9, "grace_period": 1, "reduction_factor": 3, "mode": "promote"},
    "median": {"type": "median", "max_t": 9, "grace_period": 2, "min_samples": 2},
    "none": {"type": "none"},
}


def spec_of(algorithm: str, scheduler: str) -> SweepSpec:
    return spec_from(
        {
            "trainable": "train:train",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {
                "x": {"type": "float", "low": 0, "high": 1},
                "kind": {"type": "categorical", "choices": ["a", "b"]},
                "depth": {"type": "int", "low": 1, "high": 9, "when": {"kind": "a"}},
            },
            "search": {"algorithm": algorithm, "seed": 3, "points": [{"x": 0.25}]},
            "scheduler": SCHEDULERS[scheduler],
            "budget": {"trials": 100},
        }
    )


class Sweep:
    """A sweep as a runner drives it, and what the store would have of it."""

    def __init__(self, spec: SweepSpec) -> None:
        self.spec = spec
        self.search, self.rule = fresh(spec)
        self.trials: dict[int, Trial] = {}
        self.reported: list[Reported] = []
        self.decisions: list[Decision] = []
        self.ticks = 0

    def start(self) -> None:
        number = len(self.trials)
        params = self.search.ask(number)
        assert params is not None
        self.trials[number] = Trial(
            sweep_id="s", number=number, state=TrialState.RUNNING, params=params, config={}, created_at=EPOCH
        )

    def go_on(self, choice: int, end: TrialState | None, noise: float) -> None:
        """The next report of a trial that runs, and how it ends where it does."""
        running = [n for n, t in self.trials.items() if t.state is TrialState.RUNNING]
        if not running:
            self.start()
            return
        number = running[choice % len(running)]
        step = self.trials[number].step + 1
        value = (self.trials[number].params["x"] - 0.3) ** 2 + noise / step
        self.search.observe(number, step, value)
        decision = self.rule.decide(number, 1, 0, step, value)
        self.ticks += 1
        self.reported.append(Reported(number, step, value, EPOCH + timedelta(seconds=self.ticks), float(step)))
        best = self.trials[number].value
        changes: dict[str, Any] = {"step": step}
        if best is None or value < best:
            changes |= {"value": value, "best_step": step}
        self.update(number, **changes)
        if decision is not None:
            self.decisions.append(decision)
            if decision.action is Action.PAUSE:
                self.update(number, state=TrialState.PAUSED)
            elif decision.action is Action.STOP:
                end = TrialState.PRUNED
        if step == 9:
            end = TrialState.COMPLETED
        if end is not None and self.trials[number].state is TrialState.RUNNING:
            self.end(number, end)

    def end(self, number: int, state: TrialState) -> None:
        failure = Failure(kind=FailureKind.USER_ERROR, message="no") if state is TrialState.FAILED else None
        self.ticks += 1
        self.update(number, state=state, failure=failure, ended_at=EPOCH + timedelta(seconds=self.ticks))
        self.search.tell(number, state)

    def update(self, number: int, **changes: Any) -> None:
        self.trials[number] = self.trials[number].model_copy(update=changes)

    def promote(self) -> None:
        decision = self.rule.promote()
        if decision is not None:
            self.decisions.append(decision)
            self.update(decision.number, state=TrialState.RUNNING)

    def past(self) -> Past:
        needed = steps_needed(self.spec)
        reported = [r for r in self.reported if needed is None or r.step in needed]
        return Past(trials=[*self.trials.values()], reported=reported, decisions=self.decisions, elapsed_s=1.0)


def fresh(spec: SweepSpec) -> tuple[Search, Scheduler]:
    search = Search(spec.space, spec.metric.goal, spec.search, compared_at(spec.scheduler))
    return search, scheduler_of(spec.scheduler, spec.metric.goal, spec.search.seed)


MOVES = st.lists(
    st.tuples(
        st.sampled_from(["start", "go on", "go on", "go on", "promote", "end"]),
        st.integers(0, 99),
        st.floats(0, 1),
        st.sampled_from([TrialState.COMPLETED, TrialState.FAILED, TrialState.CANCELLED]),
    ),
    min_size=80,
    max_size=160,
)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("algorithm", ["random", "tpe", "auto"])
@settings(max_examples=8)
@given(moves=MOVES)
def test_search_and_scheduler_go_on_as_if_nothing_had_happened(
    algorithm: str, scheduler: str, moves: list[tuple[str, int, float, TrialState]]
) -> None:
    sweep = Sweep(spec_of(algorithm, scheduler))
    for move, choice, noise, state in moves:
        if move == "start":
            sweep.start()
        elif move == "promote":
            sweep.promote()
        else:
            sweep.go_on(choice, state if move == "end" else None, noise)
    search, rule = fresh(sweep.spec)

    bring_back(sweep.past(), search, rule)

    assert rule.waiting() == sweep.rule.waiting()
    assert rule.next_up() == sweep.rule.next_up()
    for number, trial in sweep.trials.items():
        if trial.state is TrialState.RUNNING:
            decided = [r.decide(number, 2, 0, trial.step + 1, 0.2) for r in (rule, sweep.rule)]
            assert len({d and (d.action, d.cutoff, d.rank, d.seen, d.places) for d in decided}) == 1
    first = len(sweep.trials)
    assert [search.ask(n) for n in range(first, first + 3)] == [sweep.search.ask(n) for n in range(first, first + 3)]
