"""Sweeps that are edited, extended, and asked for trials."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.store.records import NOW, new_sweep, trial
from toprung.errors import Conflict, InvalidSpec, NotFound, PreconditionFailed
from toprung.serve.store import Store
from toprung.tuning.records import Batch, Failure, FailureKind, Milestone, Sweep, SweepState, TrialState

FAILURE = Failure(kind=FailureKind.USER_ERROR, message="ValueError: no")


def finished_sweep(store: Store, *states: TrialState) -> Sweep:
    """A sweep that has succeeded, with a trial in each of these states."""
    sweep = new_sweep(store, budget={"trials": max(1, len(states))})
    rows = [
        trial(sweep, number, state=state, failure=FAILURE if state is TrialState.FAILED else None)
        for number, state in enumerate(states)
    ]
    store.write(Batch(sweep_id=sweep.id, trials=rows))
    return store.set_sweep_state(sweep.id, SweepState.SUCCEEDED)


def test_an_edit_counts_and_is_told(store: Store) -> None:
    sweep = new_sweep(store)
    changed = store.edits.edit(sweep.id, {"budget": {"trials": 80}, "concurrency": 3, "priority": 5}, revisions={1, 7})
    assert (changed.revision, changed.num_trials, changed.spec.budget.trials) == (2, 80, 80)
    assert (changed.spec.concurrency, changed.spec.priority) == (3, 5)
    assert changed.spec.parameters == sweep.spec.parameters
    edited = store.events_after(0)[-1]
    assert edited.type == "sweep.edited"
    assert edited.data["edited"] == {"budget": {"trials": 80}, "concurrency": 3, "priority": 5}
    assert store.edits.edit(sweep.id, {"concurrency": 3}).revision == 2, "the same again is no change"
    with pytest.raises(PreconditionFailed, match="revision 2"):
        store.edits.edit(sweep.id, {"concurrency": 4}, revisions={1})


def test_higher_priority_goes_first_from_then_on(store: Store) -> None:
    first, second = new_sweep(store, running=False), new_sweep(store, running=False)
    store.edits.edit(second.id, {"priority": 1})
    assert [s.id for s in store.sweeps_in([SweepState.QUEUED])] == [second.id, first.id]


@pytest.mark.parametrize(
    ("patch", "pointer", "code"),
    [
        ({"metric": {"name": "other"}}, "/metric", "not_editable"),
        ({"budget": {"trials": 0}}, "/budget/trials", "invalid_value"),
        ({"concurency": 3}, "/concurency", "unknown_field"),
        ({"budget": {"trials": None}}, "/budget", "no_budget"),
    ],
)
def test_what_cannot_be_changed_changes_nothing(store: Store, patch: dict[str, Any], pointer: str, code: str) -> None:
    sweep = new_sweep(store)
    with pytest.raises(InvalidSpec) as error:
        store.edits.edit(sweep.id, patch)
    assert [(p.pointer, p.code) for p in error.value.problems] == [(pointer, code)]
    assert store.get_sweep(sweep.id) == sweep


def test_an_ended_sweep_is_extended_and_the_time_between_does_not_count(store: Store) -> None:
    sweep = finished_sweep(store, TrialState.COMPLETED, TrialState.CANCELLED)
    with pytest.raises(Conflict, match="toprung extend"):
        store.edits.edit(sweep.id, {"budget": {"trials": 9}})
    with pytest.raises(InvalidSpec) as error:
        store.edits.extend(sweep.id, {"trials": 2})
    assert error.value.problems[0].pointer == "/budget/trials"

    queued = store.edits.extend(sweep.id, {"trials": 5})
    assert (queued.state, queued.num_trials, queued.ended_at, queued.reason) == ("queued", 5, None, None)
    again = store.set_sweep_state(sweep.id, SweepState.RUNNING)
    assert again.started_at == sweep.started_at
    assert again.idle_s > 0
    assert [t.state for t in store.list_trials(sweep.id).items] == ["completed", "cancelled"], "as they were"


def test_a_cancelled_sweep_may_go_on(store: Store) -> None:
    sweep = new_sweep(store, running=False)
    store.request_cancel(sweep.id)
    queued = store.edits.extend(sweep.id, {"trials": 60})
    assert (queued.state, queued.cancel_requested) == ("queued", False)


def test_a_target_that_was_reached_is_lifted(store: Store) -> None:
    metric = {"name": "val_loss", "goal": "minimize", "target": 1.0}
    sweep = new_sweep(store, metric=metric)
    store.write(Batch(sweep_id=sweep.id, trials=[trial(sweep, 0, state=TrialState.COMPLETED, value=0.5)]))
    store.set_sweep_state(sweep.id, SweepState.SUCCEEDED)
    assert store.edits.extend(sweep.id, {"trials": 99}).spec.metric.target is None


def test_what_is_asked_for_while_a_sweep_ends_is_not_lost(store: Store) -> None:
    sweep = new_sweep(store)
    asked = store.edits.request_trial(sweep.id, {"lr": 0.01})
    assert asked.revision == 2
    assert store.set_sweep_state(sweep.id, SweepState.SUCCEEDED, revision=1).state is SweepState.QUEUED
    store.set_sweep_state(sweep.id, SweepState.RUNNING)
    assert store.set_sweep_state(sweep.id, SweepState.SUCCEEDED, revision=2).state is SweepState.SUCCEEDED


def test_requests_are_kept_in_order_and_the_same_key_counts_once(store: Store) -> None:
    sweep = new_sweep(store)
    store.edits.request_trial(sweep.id, {"lr": 0.01}, idempotency_key="k")
    store.edits.request_trial(sweep.id, {"lr": 0.01}, idempotency_key="k")
    asked = store.edits.request_trial(sweep.id, {"lr": 0.02})
    requests, stopping = store.edits.orders(sweep.id)
    assert [request.params for request in requests] == [{"lr": 0.01}, {"lr": 0.02}]
    assert stopping == []
    assert asked.num_trials == 52
    assert store.edits.edit(sweep.id, {"budget": {"trials": 10}}).num_trials == 12


def test_failed_trials_are_asked_for_once(store: Store) -> None:
    sweep = finished_sweep(store, TrialState.FAILED, TrialState.COMPLETED, TrialState.FAILED)
    again = store.edits.retry(sweep.id, code="sha256:" + "0" * 64)
    assert (again.state, again.num_trials, again.spec.code) == ("queued", 5, "sha256:" + "0" * 64)
    requests, _ = store.edits.orders(sweep.id)
    assert [request.retry_of for request in requests] == [0, 2]
    with pytest.raises(Conflict, match="no failed trial"):
        store.edits.retry(sweep.id)
    assert len(store.edits.retry(sweep.id, [1]).id) > 0, "any that is over, by its number"
    with pytest.raises(NotFound):
        store.edits.retry(sweep.id, [7])


def test_a_running_sweep_keeps_its_code(store: Store) -> None:
    sweep = new_sweep(store)
    store.write(Batch(sweep_id=sweep.id, trials=[trial(sweep, 0, state=TrialState.FAILED, failure=FAILURE)]))
    with pytest.raises(Conflict, match="pause it"):
        store.edits.retry(sweep.id, code="sha256:" + "0" * 64)


def test_a_wish_to_stop_a_trial_outlives_what_its_runner_says(store: Store) -> None:
    sweep = new_sweep(store)
    row = trial(sweep, 0, state=TrialState.RUNNING)
    store.write(Batch(sweep_id=sweep.id, trials=[row]))
    assert store.edits.stop_trial(sweep.id, 0).stop_requested
    store.write(Batch(sweep_id=sweep.id, trials=[row.model_copy(update={"step": row.step + 1})]))
    assert store.get_trial(sweep.id, 0).stop_requested
    assert store.edits.orders(sweep.id)[1] == [0]
    store.write(
        Batch(sweep_id=sweep.id, trials=[row.model_copy(update={"state": TrialState.CANCELLED, "ended_at": NOW})])
    )
    assert store.edits.orders(sweep.id)[1] == []
    with pytest.raises(Conflict, match="is over"):
        store.edits.stop_trial(sweep.id, 0)


def test_a_trial_of_a_paused_sweep_ends_at_once(store: Store) -> None:
    sweep = new_sweep(store)
    store.write(Batch(sweep_id=sweep.id, trials=[trial(sweep, 0, state=TrialState.RUNNING)]))
    store.set_sweep_state(sweep.id, SweepState.PAUSED)
    stopped = store.edits.stop_trial(sweep.id, 0)
    assert (stopped.state, stopped.reason) == ("cancelled", "stopped by the user")


def test_a_part_of_the_budget_is_told_once(store: Store) -> None:
    sweep = new_sweep(store)
    half = Milestone(budget="gpu_hours", percent=50, used=0.5, limit=1.0)
    for _ in range(2):
        store.write(Batch(sweep_id=sweep.id, milestones=[half]))
    store.write(Batch(sweep_id=sweep.id, milestones=[half.model_copy(update={"limit": 2.0, "used": 1.0})]))
    told = [event.data["limit"] for event in store.events_after(0) if event.type == "budget"]
    assert told == [1.0, 2.0], "again only for another limit"


def test_a_pause_before_the_end_does_not_count_either(store: Store) -> None:
    sweep = new_sweep(store, budget={"trials": 5, "wall_time_s": 3600.0})
    store.set_sweep_state(sweep.id, SweepState.PAUSED)
    began = time.monotonic()
    time.sleep(0.3)  # paused
    store.request_cancel(sweep.id)
    store.edits.extend(sweep.id, {"trials": 9})
    again = store.set_sweep_state(sweep.id, SweepState.RUNNING)
    assert 0.3 <= again.idle_s <= time.monotonic() - began + 0.1


@pytest.mark.parametrize(
    ("budget", "fields"),
    [({"steps": 4}, {"step": 4}), ({"cost": 2.0}, {"cost": 2.5}), ({"gpu_hours": 1.0}, {"gpu_hours": 1.5})],
)
def test_what_is_spent_must_be_extended_first(store: Store, budget: dict[str, Any], fields: dict[str, Any]) -> None:
    sweep = new_sweep(store, budget={"trials": 5, **budget})
    store.write(Batch(sweep_id=sweep.id, trials=[trial(sweep, 0, state=TrialState.FAILED, failure=FAILURE, **fields)]))
    store.set_sweep_state(sweep.id, SweepState.SUCCEEDED)
    name = next(iter(budget))
    asked: list[Callable[[], Sweep]] = [
        lambda: store.edits.extend(sweep.id, {"trials": 9}),
        lambda: store.edits.retry(sweep.id),
        lambda: store.edits.request_trial(sweep.id, {"lr": 0.01}),
    ]
    for ask in asked:
        with pytest.raises(InvalidSpec) as error:
            ask()
        assert [problem.pointer for problem in error.value.problems] == [f"/budget/{name}"]
    assert store.edits.extend(sweep.id, {name: 50}).state is SweepState.QUEUED
    assert store.edits.retry(sweep.id).num_trials == 6


def test_the_same_retry_counts_once(store: Store) -> None:
    sweep = finished_sweep(store, TrialState.FAILED, TrialState.FAILED)
    for _ in range(2):
        assert store.edits.retry(sweep.id, idempotency_key="k").num_trials == 4
    for _ in range(2):
        assert store.edits.retry(sweep.id, [0], idempotency_key="l").num_trials == 5


def test_what_is_being_cancelled_takes_no_requests(store: Store) -> None:
    sweep = new_sweep(store)
    store.request_cancel(sweep.id)
    asked: list[Callable[[], Sweep]] = [
        lambda: store.edits.request_trial(sweep.id, {"lr": 0.01}),
        lambda: store.edits.extend(sweep.id, {"trials": 90}),
        lambda: store.edits.edit(sweep.id, {"priority": 3}),
    ]
    for ask in asked:
        with pytest.raises(Conflict, match="being cancelled"):
            ask()


def test_a_target_that_is_reached_while_more_is_asked_for_is_lifted(store: Store) -> None:
    sweep = new_sweep(store, metric={"name": "val_loss", "goal": "minimize", "target": 1.0})
    store.write(Batch(sweep_id=sweep.id, trials=[trial(sweep, 0, state=TrialState.COMPLETED, value=0.5)]))
    store.edits.request_trial(sweep.id, {"lr": 0.01})
    ended = store.set_sweep_state(sweep.id, SweepState.SUCCEEDED, revision=1)
    assert (ended.state, ended.spec.metric.target) == ("queued", None)
