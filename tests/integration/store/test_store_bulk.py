"""Whole sweeps at once: the same on both databases, and what changed is all that changed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.integration.store import records
from toprung.figures.building import TrialLists
from toprung.serve.store import Store, bulk
from toprung.tuning.records import Batch, SweepState, TrialState

AT = datetime(2026, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)


def test_trials_come_by_column(store: Store) -> None:
    sweep = records.new_sweep(store)
    ended = AT + timedelta(seconds=2.5)
    first = records.trial(sweep, 0, state=TrialState.RUNNING, started_at=AT, ended_at=ended, reason="why")
    store.write(Batch(sweep_id=sweep.id, trials=[records.trial(sweep, 1), first]))

    changes = store.bulk.changes(sweep.id, None)

    trials = changes.trials
    assert changes.whole
    assert list(trials.number) == [0, 1]
    assert list(trials.reason) == ["why", None]
    assert trials.started_s[0] == pytest.approx(AT.timestamp(), abs=1e-3)
    assert trials.ended_s[0] == pytest.approx(ended.timestamp(), abs=1e-3)
    assert list(trials.ended_s)[1] is None
    assert changes.last_event == store.bulk.last_event(sweep.id) > 0


def test_only_what_changed_comes_again(store: Store) -> None:
    sweep = records.new_sweep(store)
    assert store.bulk.changes(sweep.id, None).trials.number == []
    store.write(Batch(sweep_id=sweep.id, trials=[records.trial(sweep, number) for number in range(3)]))
    seen = store.bulk.changes(sweep.id, None).last_event
    assert store.bulk.changes(sweep.id, seen) == bulk.Changes(seen, TrialLists(*[[]] * 11), False)

    moved = records.trial(sweep, 1, state=TrialState.PRUNED, step=1)
    store.write(Batch(sweep_id=sweep.id, trials=[moved], results=[records.result(1, 1)]))
    changes = store.bulk.changes(sweep.id, seen)
    assert (list(changes.trials.number), list(changes.trials.state), changes.whole) == ([1], ["pruned"], False)

    store.set_sweep_state(sweep.id, SweepState.CANCELLED)
    assert list(store.bulk.changes(sweep.id, changes.last_event).trials.number) == [0, 2]


def test_after_many_changes_all_comes_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk, "_MOST_CHANGES", 2)
    sweep = records.new_sweep(store)
    store.write(Batch(sweep_id=sweep.id, trials=[records.trial(sweep, number) for number in range(3)]))

    changes = store.bulk.changes(sweep.id, 0)

    assert (changes.whole, list(changes.trials.number)) == (True, [0, 1, 2])


def test_results_decisions_and_standings(store: Store) -> None:
    sweep = records.new_sweep(store)
    trials = [records.trial(sweep, 0, value=0.5), records.trial(sweep, 1, state=TrialState.FAILED, value=0.1)]
    results = [records.result(number, step) for number in (1, 0) for step in (1, 2, 3, 4)]
    store.write(Batch(sweep_id=sweep.id, trials=trials, results=results, decisions=[records.decision(0, 1)]))

    assert [row[:2] for row in store.bulk.results(sweep.id, [1, 0], every=2)] == [(0, 2), (0, 4), (1, 2), (1, 4)]
    assert [row[:2] for row in store.bulk.results(sweep.id, [1])] == [(1, 1), (1, 2), (1, 3), (1, 4)]
    assert [number for number, _ in store.bulk.standings(sweep.id)] == [0]
    (decided,) = store.bulk.decisions_after(sweep.id, 0)
    assert decided[1] == 0
    assert store.bulk.decisions_after(sweep.id, decided[0]) == []
