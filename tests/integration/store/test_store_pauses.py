"""Sweeps that pause, and what a runner takes up."""

from __future__ import annotations

import time

import pytest

from tests.integration.store.records import new_sweep, result, trial
from toprung.errors import Conflict
from toprung.serve.store import Store
from toprung.tuning.records import Batch, CheckpointRef, SweepState, TrialState, utc_now


def test_a_queued_sweep_pauses_at_once_and_is_queued_again(store: Store) -> None:
    sweep = new_sweep(store, running=False)
    assert store.request_pause(sweep.id).state is SweepState.PAUSED
    assert store.request_pause(sweep.id).state is SweepState.PAUSED, "asking again changes nothing"
    assert store.resume(sweep.id).state is SweepState.QUEUED
    assert [e.data["state"] for e in store.events_after(0)] == ["queued", "paused", "queued"]


def test_a_running_sweep_notes_the_wish_once(store: Store) -> None:
    sweep = new_sweep(store)
    for _ in range(2):
        assert store.request_pause(sweep.id).pause_requested
    assert store.events_after(0)[-1].data == {"state": "running", "reason": None, "pause_requested": True}
    with pytest.raises(Conflict, match="is still pausing"):
        store.resume(sweep.id)


def test_trials_that_ran_wait_and_the_time_between_does_not_count(store: Store) -> None:
    sweep = new_sweep(store)
    over = trial(sweep, 0, state=TrialState.COMPLETED)
    store.write(Batch(sweep_id=sweep.id, trials=[over, trial(sweep, 1, state=TrialState.RUNNING)]))
    paused = store.set_sweep_state(sweep.id, SweepState.PAUSED)
    assert paused.trials == {TrialState.COMPLETED: 1, TrialState.PENDING: 1}
    assert store.get_trial(sweep.id, 1).reason == "the sweep was paused"

    store.resume(sweep.id)
    again = store.set_sweep_state(sweep.id, SweepState.RUNNING)

    assert again.started_at == paused.started_at
    assert again.started_at is not None
    assert again.idle_s > 0
    before, elapsed_s, after = utc_now(), store.past(sweep.id, ()).elapsed_s, utc_now()
    least, most = ((now - again.started_at).total_seconds() - again.idle_s for now in (before, after))
    assert least - 0.1 <= elapsed_s <= most + 0.1


def test_a_pause_in_the_queue_counts_from_the_first(store: Store) -> None:
    sweep = new_sweep(store)
    store.set_sweep_state(sweep.id, SweepState.PAUSED)
    began = time.monotonic()
    store.resume(sweep.id)
    time.sleep(0.2)  # in the queue
    store.request_pause(sweep.id)
    store.resume(sweep.id)
    again = store.set_sweep_state(sweep.id, SweepState.RUNNING)
    assert 0.2 <= again.idle_s <= time.monotonic() - began + 0.1


def test_a_pause_before_the_first_start_is_not_counted(store: Store) -> None:
    sweep = new_sweep(store, running=False)
    store.request_pause(sweep.id)
    store.resume(sweep.id)
    time.sleep(0.2)
    store.set_sweep_state(sweep.id, SweepState.RUNNING)
    began = time.monotonic()
    store.set_sweep_state(sweep.id, SweepState.PAUSED)
    store.resume(sweep.id)
    again = store.set_sweep_state(sweep.id, SweepState.RUNNING)
    assert again.idle_s <= time.monotonic() - began + 0.1


def test_what_is_being_cancelled_does_not_pause(store: Store) -> None:
    sweep = new_sweep(store)
    store.request_cancel(sweep.id)
    with pytest.raises(Conflict, match="is being cancelled"):
        store.request_pause(sweep.id)


def test_a_paused_sweep_can_be_cancelled(store: Store) -> None:
    sweep = new_sweep(store)
    store.set_sweep_state(sweep.id, SweepState.PAUSED)
    cancelled = store.request_cancel(sweep.id)
    assert (cancelled.state, cancelled.reason) == (SweepState.CANCELLED, "cancelled while it was paused")


@pytest.mark.parametrize("ask", ["request_pause", "resume"])
def test_what_is_over_neither_pauses_nor_goes_on(store: Store, ask: str) -> None:
    sweep = new_sweep(store)
    store.set_sweep_state(sweep.id, SweepState.SUCCEEDED)
    with pytest.raises(Conflict, match="already succeeded") as caught:
        getattr(store, ask)(sweep.id)
    assert caught.value.state == "succeeded"


def test_what_runs_does_not_go_on(store: Store) -> None:
    sweep = new_sweep(store)
    with pytest.raises(Conflict, match="is running, not paused"):
        store.resume(sweep.id)


def test_a_sweep_as_a_runner_takes_it_up(store: Store) -> None:
    sweep = new_sweep(store)
    saved = CheckpointRef(step=2, path="/2")
    running = trial(sweep, 0, state=TrialState.RUNNING, attempt=1, step=3, resume_from=saved)
    over = trial(sweep, 1, state=TrialState.COMPLETED, attempt=1, step=3)
    steps = [(0, 1), (1, 1), (0, 2), (1, 2), (0, 3), (1, 3)]
    store.write(
        Batch(sweep_id=sweep.id, trials=[running, over], results=[result(number, step) for number, step in steps])
    )

    past = store.past(sweep.id, (1, 3))

    # the second step only of the trial that has a checkpoint there
    assert [(r.number, r.step) for r in past.reported] == [(0, 1), (1, 1), (0, 2), (0, 3), (1, 3)]
    assert past.trials[0].resume_from == saved
    assert len(store.past(sweep.id, None).reported) == len(steps)
