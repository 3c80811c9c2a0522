"""Deleted sweeps: nobody finds them, whatever of their rows is left, and nothing else has changed."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest
from sqlalchemy import create_engine, func, select

from tests.integration.store.conftest import NewUrl
from tests.integration.store.records import decision, everything, new_sweep, result, trial, write
from toprung.errors import Conflict, NotFound
from toprung.serve.store import Store
from toprung.serve.store.tables import metadata
from toprung.tuning.records import Batch, CheckpointRef, RunEnvironment, Sweep, SweepState, TrialState

ROWS = 3


def ended(store: Store, num_trials: int = 4, **fields: Any) -> Sweep:
    sweep = new_sweep(store, **fields)
    for number in range(num_trials):
        write(
            store,
            sweep,
            trials=[trial(sweep, number)],
            environments=[RunEnvironment(python=f"3.11.{number}", platform="Linux")],
            results=[result(number, step) for step in range(1, 4)],
            decisions=[decision(number)],
            warnings=[f"warning {number}"],
        )
    store.set_cursor(f"tracker/{sweep.id}", 7)
    store.edits.request_trial(sweep.id, {"lr": 0.01})
    return store.set_sweep_state(sweep.id, SweepState.SUCCEEDED)


def purged(store: Store, sweep: Sweep) -> int:
    """Removes all rows. Returns in how many transactions."""
    for transactions in count(1):
        if store.retention.remove_rows(sweep.id, ROWS):
            return transactions
    raise AssertionError


@pytest.mark.parametrize("rows_too", [False, True], ids=["hidden", "purged"])
class TestADeletedSweep:
    @pytest.fixture
    def deleted(self, store: Store, rows_too: bool) -> Sweep:
        sweep = ended(store, name="digits")
        store.delete_sweep(sweep.id)
        if rows_too:
            purged(store, sweep)
        return sweep

    def test_is_nowhere(self, store: Store, deleted: Sweep) -> None:
        for call in (
            lambda: store.get_sweep(deleted.id),
            lambda: store.get_sweep("digits"),
            lambda: store.get_trial(deleted.id, 0),
            lambda: store.list_trials(deleted.id),
            lambda: store.list_results(deleted.id, 0),
            lambda: store.list_decisions(deleted.id),
            lambda: store.best_trials(deleted.id, 1),
            lambda: store.prior_sweep(deleted.id, [1]),
            lambda: store.past(deleted.id, None),
            lambda: store.set_sweep_state(deleted.id, SweepState.RUNNING),
            lambda: store.request_cancel(deleted.id),
            lambda: store.add_event(deleted.id, "warning", {}),
            lambda: store.delete_sweep(deleted.id),
        ):
            with pytest.raises(NotFound):
                call()
        assert store.list_sweeps().items == []
        assert store.sweeps_in(list(SweepState)) == []
        assert store.events_after(0) == store.events_after(0, sweep_id=deleted.id) == []

    def test_leaves_its_name_to_the_one_before(self, store: Store, rows_too: bool) -> None:
        first, second = ended(store, 1, name="digits"), ended(store, 1, name="digits")
        before = everything(store, first.id)

        store.delete_sweep("digits")
        if rows_too:
            purged(store, second)

        assert store.get_sweep("digits").id == first.id
        assert everything(store, first.id) == before
        assert [sweep.id for sweep in store.list_sweeps().items] == [first.id]
        assert {event.sweep_id for event in store.events_after(0)} == {first.id}

    def test_was_the_newest_and_event_ids_still_grow(self, store: Store, rows_too: bool) -> None:
        sweep = ended(store)
        newest = store.last_event_id()

        store.delete_sweep(sweep.id)
        if rows_too:
            purged(store, sweep)

        assert store.last_event_id() == newest
        other = ended(store, 1)
        assert store.events_after(newest, limit=1)[0].id == newest + 1
        assert store.last_event_id() == store.events_after(0, sweep_id=other.id)[-1].id

    def test_does_not_answer_for_its_idempotency_key(self, store: Store, rows_too: bool) -> None:
        spec = ended(store, 1).spec
        first, _ = store.create_sweep(spec, name="x", num_trials=1, idempotency_key="once", body_hash="h")
        store.request_cancel(first.id)
        store.delete_sweep(first.id)
        if rows_too:
            purged(store, first)

        again, new = store.create_sweep(spec, name="x", num_trials=1, idempotency_key="once", body_hash="h")

        assert (new, again.id == first.id) == (True, False)

    def test_cannot_be_learned_from(self, store: Store, deleted: Sweep) -> None:
        with pytest.raises(NotFound):
            new_sweep(store, search={"prior": [deleted.id]})


def test_what_a_lost_runner_still_sends_changes_nothing(store: Store) -> None:
    sweep = ended(store)
    store.delete_sweep(sweep.id)
    late = Batch(sweep_id=sweep.id, trials=[trial(sweep, 9)], results=[result(9)], warnings=["late"])

    store.write(late)  # acknowledged, as that of a finished sweep is
    purged(store, sweep)
    with pytest.raises(NotFound):  # the controller takes this for an acknowledgement
        store.write(late)

    assert store.events_after(0) == []


@pytest.mark.parametrize("state", [state for state in SweepState if not state.finished])
def test_only_a_finished_sweep_is_deleted(store: Store, state: SweepState) -> None:
    sweep = new_sweep(store, running=False, name="digits")
    if state is not SweepState.QUEUED:
        store.set_sweep_state(sweep.id, state)

    with pytest.raises(Conflict, match="toprung cancel digits") as refused:
        store.delete_sweep("digits")

    assert refused.value.state == store.get_sweep(sweep.id).state == state


def test_a_sweep_stays_while_an_unfinished_one_learns_from_it(store: Store) -> None:
    first = ended(store, name="first")
    second = new_sweep(store, running=False, name="second", search={"prior": [first.id]})
    for state in (SweepState.PAUSED, SweepState.QUEUED, SweepState.RUNNING):
        store.set_sweep_state(second.id, state)
        with pytest.raises(Conflict, match=f"second .*{state}"):
            store.delete_sweep(first.id)
    store.set_sweep_state(second.id, SweepState.SUCCEEDED)

    store.delete_sweep(first.id)

    assert [sweep.name for sweep in store.list_sweeps().items] == ["second"]


def test_rows_go_in_small_transactions_that_anybody_may_go_on_with(new_url: NewUrl) -> None:
    """Each step is done by another process, as if the one before had been killed."""
    url = new_url()
    store = Store(url)
    sweep, other = ended(store), ended(store)
    before, used = everything(store, other.id), store.usage()
    assert (used[0].sweeps, used[0].steps > 0) == (2, True)
    store.delete_sweep(sweep.id)
    store.close()
    engine = create_engine(url)

    def num_rows() -> int:
        with engine.connect() as connection:
            return sum(
                connection.execute(select(func.count()).select_from(table)).scalar_one()
                for table in metadata.sorted_tables
            )

    left, steps, gone = num_rows(), 0, False
    while not gone:
        store = Store(url)
        assert [known.id for known in store.retention.deleted_sweeps()] == [sweep.id]
        gone = store.retention.remove_rows(sweep.id, ROWS)
        assert everything(store, other.id) == before
        assert store.usage() == used, "it counts once, whatever is left of it"
        store.close()
        assert left - num_rows() <= ROWS
        left, steps = num_rows(), steps + 1

    store = Store(url)
    assert steps > 5
    assert store.retention.deleted_sweeps() == []
    assert [known.id for known in store.retention.known_sweeps()] == [other.id]
    with engine.connect() as connection:
        for table in metadata.sorted_tables:
            column = table.c.get("sweep_id", table.c.id if table.name == "sweeps" else None)
            if column is not None and table.name != "deliveries":  # what was told of a sweep stays for a month
                whose = [sweep.id] if table.name == "past_usage" else [other.id]
                assert connection.execute(select(column).distinct()).scalars().all() == whose, table.name
        assert sorted(connection.execute(select(metadata.tables["cursors"].c.name)).scalars()) == [
            "events/last-id",
            f"tracker/{other.id}",
        ]
    engine.dispose()
    store.close()


def test_rows_of_a_sweep_that_is_not_deleted_stay(store: Store) -> None:
    sweep = ended(store)
    before = everything(store, sweep.id)

    assert store.retention.remove_rows(sweep.id, ROWS)

    assert everything(store, sweep.id) == before


def test_checkpoints_are_named_until_they_are_forgotten(store: Store) -> None:
    sweep = new_sweep(store)
    best, last = CheckpointRef(step=1, path="/runs/a"), CheckpointRef(step=2, path="/runs/b")
    running = trial(sweep, 0, step=2, checkpoint=best, resume_from=last)
    write(store, sweep, trials=[running, trial(sweep, 1)])
    named = store.retention.named_checkpoints(sweep.id)
    write(store, sweep, trials=[running.model_copy(update={"state": TrialState.COMPLETED, "resume_from": None})])
    store.set_sweep_state(sweep.id, SweepState.SUCCEEDED)

    store.retention.forget_checkpoints(sweep.id)

    assert named == [best, last]
    assert store.retention.named_checkpoints(sweep.id) == []
    assert store.get_trial(sweep.id, 0).checkpoint is None
