"""The rules of writing, on any history: what comes twice, late or too late changes nothing."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from tests.integration.store.records import NOW, decision, everything, new_sweep, result, trial
from toprung.errors import Conflict, Malformed
from toprung.serve.store import Store
from toprung.tuning.records import Batch, Best, Sweep, SweepState, Trial, TrialState

SLOW = settings(
    deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
NUMBERS = st.integers(0, 3)
FINISHED = [state for state in TrialState if state.finished]


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """What a runner sends in the course of a sweep, as arguments of batches, in its order.

    Each trial goes step by step, loses attempts on the way, and may or may not come to an end.
    """
    parts: list[dict[str, Any]] = []
    state: dict[int, tuple[int, int, bool]] = {}
    for number in draw(st.lists(NUMBERS, max_size=12)):
        attempt, step, ended = state.get(number, (0, 0, False))
        if ended:
            continue
        move = draw(st.sampled_from(["wait", "start", "step", "end"] if attempt else ["wait", "start"]))
        if move == "start":
            attempt += 1
        elif move == "step":
            step += 1
        states = {"wait": TrialState.PENDING, "end": draw(st.sampled_from(FINISHED))}
        row = {"state": states.get(move, TrialState.RUNNING), "attempt": attempt, "step": step}
        value = draw(st.none() | st.floats(-10, 10)) if step else None
        reported = [result(number, step, attempt, val_loss=value)] if move == "step" else []
        judged = [decision(number, step, attempt=attempt)] if move == "step" and draw(st.booleans()) else []
        parts.append(
            {
                "trials": [{"number": number, "value": value, "gpu_hours": step / 8, **row}],
                "results": reported,
                "decisions": judged,
                "warnings": draw(st.lists(st.sampled_from(["slow disk", "no wandb"]), max_size=1)),
            }
        )
        state[number] = attempt, step, move == "end"
    return parts


def batch_of(sweep: Sweep, parts: dict[str, Any]) -> Batch:
    rows = [trial(sweep, **fields) for fields in parts["trials"]]
    return Batch(sweep_id=sweep.id, **(parts | {"trials": rows}))


def story(store: Store, sweep: Sweep) -> dict[str, Any]:
    """All that the store says of a sweep, without what differs between two equal sweeps: ids, names and times."""
    told = everything(store, sweep.id)
    return {
        "sweep": told["sweep"].model_dump(exclude={"id", "name", "created_at", "started_at"}),
        "trials": [row.model_dump(exclude={"sweep_id"}) for row in told["trials"]],
        "results": told["results"],
        "decisions": told["decisions"],
        "events": [
            (event.type, {key: value for key, value in event.data.items() if key != "name"}) for event in told["events"]
        ],
    }


@SLOW
@given(histories(), st.data())
def test_replays_change_nothing(store: Store, history: list[dict[str, Any]], data: st.DataObject) -> None:
    once, often = new_sweep(store), new_sweep(store)
    for position, parts in enumerate(history):
        store.write(batch_of(once, parts))
        store.write(batch_of(often, parts))
        for earlier in data.draw(st.lists(st.integers(0, position), max_size=3), label="sent again"):
            store.write(batch_of(often, history[earlier]))
    assert story(store, often) == story(store, once)


@SLOW
@given(histories(), st.integers(1, 4))
def test_batches_may_be_cut_anywhere(store: Store, history: list[dict[str, Any]], size: int) -> None:
    """Rows, results and decisions do not depend on what was sent together."""
    single, joined = new_sweep(store), new_sweep(store)
    for parts in history:
        store.write(batch_of(single, parts))
    for start in range(0, len(history), size):
        batches = [batch_of(joined, parts) for parts in history[start : start + size]]
        fields = ("trials", "results", "decisions", "warnings")
        together = {field: [item for batch in batches for item in getattr(batch, field)] for field in fields}
        store.write(Batch(sweep_id=joined.id, **together))
    first, second = story(store, single), story(store, joined)
    for each in (first, second):
        del each["events"]
    # A joined batch may bring decisions in another order of ids, never others.
    assert second == first


class LifeOfASweep(RuleBasedStateMachine):
    """Any batches and any changes of state in any order, against what the records promise."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self.store = store
        self.sweep = new_sweep(store)
        self.seen: dict[int, Trial] = {}
        self.last_event = store.last_event_id()

    @rule(
        number=NUMBERS,
        state=st.sampled_from(TrialState),
        attempt=st.integers(0, 3),
        step=st.integers(0, 4),
        value=st.none() | st.floats(-5, 5),
    )
    def write(self, number: int, state: TrialState, attempt: int, step: int, value: float | None) -> None:
        row = trial(self.sweep, number, state=state, attempt=attempt, step=step, value=value, best_step=step)
        self.store.write(
            Batch(sweep_id=self.sweep.id, trials=[row], results=[result(number, step, attempt)] if step else [])
        )

    @precondition(lambda self: not self.store.get_sweep(self.sweep.id).state.finished)
    @rule(state=st.sampled_from([SweepState.SUCCEEDED, SweepState.CANCELLED]), really=st.integers(0, 9))
    def end(self, state: SweepState, really: int) -> None:
        if really == 0:  # seldom, as nothing happens afterwards
            self.store.set_sweep_state(self.sweep.id, state)

    @rule(state=st.sampled_from(SweepState))
    def a_finished_state_leads_to_the_queue_alone(self, state: SweepState) -> None:
        now = self.store.get_sweep(self.sweep.id)
        if now.state.finished and state is not SweepState.QUEUED:
            with pytest.raises(Conflict):
                self.store.set_sweep_state(self.sweep.id, state)

    @invariant()
    def the_promises_hold(self) -> None:
        sweep = self.store.get_sweep(self.sweep.id)
        rows = {row.number: row for row in self.store.list_trials(sweep.id).items}
        for number, row in rows.items():
            old = self.seen.get(number)
            assert old is None or row.attempt >= old.attempt
            assert old is None or not old.state.finished or row == old
            assert not sweep.state.finished or row.state.finished
        counted = {state: sum(row.state == state for row in rows.values()) for state in TrialState}
        assert sweep.trials == {state: count for state, count in counted.items() if count}
        assert sweep.num_results == sum(len(self.store.list_results(sweep.id, number)) for number in rows)
        valued = [row for row in rows.values() if row.state != TrialState.FAILED and row.value is not None]
        best = min(valued, key=lambda row: (row.value, row.number), default=None)
        assert sweep.best == (best and Best(number=best.number, step=best.best_step, value=best.value))
        self._events_tell_the_states(rows)
        self.seen = rows

    def _events_tell_the_states(self, rows: dict[int, Trial]) -> None:
        told = {number: row.state for number, row in self.seen.items()}
        for event in self.store.events_after(self.last_event, sweep_id=self.sweep.id):
            assert event.id > self.last_event
            self.last_event = event.id
            if event.type == "trial.state":
                told[event.data["number"]] = event.data["state"]
        assert told == {number: row.state for number, row in rows.items()}


def test_the_life_of_a_sweep(store: Store) -> None:
    run_state_machine_as_test(
        lambda: LifeOfASweep(store),  # type: ignore[arg-type]  # any maker of one does
        settings=settings(SLOW, max_examples=15, stateful_step_count=15),
    )


@SLOW
@given(
    values=st.lists(st.none() | st.sampled_from([0.0, -1.5, 2.0]), max_size=12),
    limit=st.integers(1, 5),
    goal=st.sampled_from(["minimize", "maximize"]),
)
def test_paging_gives_each_trial_once(store: Store, values: list[float | None], limit: int, goal: str) -> None:
    sweep = new_sweep(store, metric={"name": "val_loss", "goal": goal})
    rows = [trial(sweep, number, value=value) for number, value in enumerate(values)]
    store.write(Batch(sweep_id=sweep.id, trials=rows))
    sign = 1 if goal == "minimize" else -1
    by_value = sorted(rows, key=lambda row: (row.value is None, sign * (row.value or 0), row.number))
    for order, expected in (("number", rows), ("value", by_value)):
        seen: list[Trial] = []
        cursor = None
        while True:
            page = store.list_trials(sweep.id, order_by=order, cursor=cursor, limit=limit)  # type: ignore[arg-type]  # a Literal
            assert 0 < len(page.items) <= limit or not rows
            seen += page.items
            cursor = page.next_cursor
            if cursor is None:
                break
            if len(seen) <= 2 * limit:  # a few more come while someone reads; they are worse, so they come after
                added = trial(sweep, len(rows) + len(seen) + 100, value=sign * 9.0)
                store.write(Batch(sweep_id=sweep.id, trials=[added]))
        assert [row for row in seen if row.number < 100] == expected
        assert len({row.number for row in seen}) == len(seen)


@SLOW
@given(cursor=st.text(max_size=40) | st.binary(max_size=20).map(lambda raw: raw.hex()))
def test_no_text_breaks_a_listing(tmp_path_factory: pytest.TempPathFactory, cursor: str) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "cursors.db"
    store = Store(f"sqlite:///{path}")
    try:
        with pytest.raises(Malformed):
            store.list_sweeps(cursor=cursor)
    finally:
        store.close()


def test_times_are_read_back_in_utc(store: Store) -> None:
    sweep = new_sweep(store)
    local = NOW.astimezone(tz=None) + timedelta(hours=1)
    store.write(Batch(sweep_id=sweep.id, trials=[trial(sweep, created_at=local)]))
    read = store.get_trial(sweep.id, 0).created_at
    assert read == local
    assert read.utcoffset() == timedelta(0)
