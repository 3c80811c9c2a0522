"""Webhooks and deliveries, on each database."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.integration.store.records import decision, new_sweep, result, trial, write
from toprung.errors import NotFound
from toprung.serve.store import Store
from toprung.serve.store.webhooks import Message
from toprung.tuning.records import SweepState, utc_now
from toprung.tuning.webhooks import NewWebhook, WebhookEvent, WebhookSweeps

URL = "https://example.org/hook"


def made(store: Store, owner: str | None = None) -> NewWebhook:
    return store.webhooks.create(URL, events=(WebhookEvent.SWEEP_ENDED,), owner=owner, sweeps=WebhookSweeps.ALL)


def test_what_is_made_is_listed_without_its_secret(store: Store) -> None:
    hooks = [made(store, "alice"), made(store)]
    assert [hook.id for hook in store.webhooks.all()] == [hook.id for hook in hooks]
    assert store.webhooks.get(hooks[0].id).model_dump() == hooks[0].model_dump(exclude={"secret"})
    with pytest.raises(NotFound):
        store.webhooks.get("whk_\0")


def test_a_message_is_kept_once_and_due_until_it_is_noted(store: Store) -> None:
    hook = made(store)
    for _ in range(2):
        store.webhooks.send([Message(hook.id, "sweep.ended", "a", "{}", "swp_1")], position=7)
    assert store.webhooks.position() == 7
    (due,) = store.webhooks.due(10)
    assert (due.url, due.secret, due.body) == (URL, hook.secret, "{}")
    later = utc_now() + timedelta(hours=1)
    store.webhooks.note(due.delivery.id, status=500, error="no", duration_ms=1.5, next_at=later)
    assert store.webhooks.due(10) == []
    (waiting,) = store.webhooks.deliveries(hook.id, 10)
    assert (waiting.state, waiting.attempts, waiting.next_at) == ("pending", 1, later)
    assert not store.webhooks.arrived_since(hook.id, waiting.created_at)
    store.webhooks.note(due.delivery.id, status=204, error=None, duration_ms=2.5, next_at=None)
    (arrived,) = store.webhooks.deliveries(hook.id, 10)
    assert (arrived.state, arrived.attempts, arrived.status, arrived.error) == ("delivered", 2, 204, None)
    assert store.webhooks.arrived_since(hook.id, waiting.created_at)


def test_a_webhook_that_is_off_gets_tests_alone(store: Store) -> None:
    hook = made(store)
    store.webhooks.send([Message(hook.id, "sweep.ended", "a", "{}")])
    store.webhooks.disable(hook.id, "it is away")
    store.webhooks.send([Message(hook.id, "sweep.ended", "b", "{}")])
    test = store.webhooks.send_test(hook.id, "{}")
    assert [due.delivery.id for due in store.webhooks.due(10)] == [test.id]
    assert sorted(sent.state for sent in store.webhooks.deliveries(hook.id, 10)) == ["failed", "pending", "pending"]
    store.webhooks.disable(hook.id, None)
    assert len(store.webhooks.due(10)) == 2


def test_what_is_deleted_is_gone_with_its_deliveries(store: Store) -> None:
    hook = made(store)
    store.webhooks.send_test(hook.id, "{}")
    store.webhooks.delete(hook.id)
    assert store.webhooks.due(10) == []
    with pytest.raises(NotFound):
        store.webhooks.deliveries(hook.id, 10)


def test_rungs_count_trials_over_all_brackets(store: Store) -> None:
    sweep = new_sweep(store)
    assert store.list_rungs(sweep.id) == []
    made = [
        *(decision(0, 1, action="pause"), decision(0, 1, action="promote"), decision(1, 1, action="stop")),
        decision(0, 3, action="pause"),
    ]
    write(store, sweep, trials=[trial(sweep, 0), trial(sweep, 1)], decisions=made)
    assert [rung.model_dump() for rung in store.list_rungs(sweep.id)] == [
        {"rung": 1, "seen": 2, "promoted": 1, "stopped": 1},
        {"rung": 3, "seen": 1, "promoted": 0, "stopped": 0},
    ]


def test_how_the_service_stands_and_what_was_reported(store: Store) -> None:
    sweep = new_sweep(store)
    write(store, sweep, trials=[trial(sweep, 0)], results=[result(0, 1), result(0, 2)])
    waiting = new_sweep(store, running=False)
    found = store.standing()
    assert (found.sweeps[SweepState.RUNNING], found.sweeps[SweepState.QUEUED], found.num_trials, found.num_results) == (
        1,
        1,
        1,
        2,
    )
    assert found.queued_since == store.events_after(0, sweep_id=waiting.id)[-1].at
    assert found.undelivered_since is None
    values = store.list_values(sweep, limit=1)
    assert ([place[:2] for place in values.items], values.more) == ([(0, 1)], True)
    rest = store.list_values(sweep, after=values.last)
    assert ([place[:2] for place in rest.items], rest.more) == ([(0, 2)], False)
    assert store.list_values(sweep, after=rest.last).last == rest.last
