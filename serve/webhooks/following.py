"""From events to messages: who is to be told of what. Position and messages are written in one step."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from toprung.errors import NotFound
from toprung.serve.home import Home
from toprung.serve.settings import WebhookSettings
from toprung.serve.store import Store
from toprung.serve.store.webhooks import Message
from toprung.serve.webhooks.payload import body
from toprung.tuning.records import Event, Milestone, Sweep, SweepState, Trial
from toprung.tuning.webhooks import Webhook, WebhookEvent, WebhookSweeps

BEST_EVERY_S = 60.0
"""A sweep's new best values are told at most so often."""
_EVENTS = 1_000
_WITH_VALUES = frozenset({"trial.results", "trial.state"})


class Following:
    """Reads the log of events.

    Args:
        home: where the service is, for links.
    """

    def __init__(
        self, store: Store, home: Path, settings: WebhookSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._store = store
        self._home = Home.at(home)
        self._public_url = settings.public_url
        self._clock = clock
        self._skipped_to = -1
        self._best: dict[str, tuple[int, int]] = {}
        """Trial and step of the best value that was looked at, by sweep."""
        self._told_at: dict[str, float] = {}
        # one may have got better while nobody looked
        self._improved = {sweep.id for sweep in store.sweeps_in([SweepState.RUNNING])}

    def step(self) -> bool:
        """One round. Returns whether there was anything to read."""
        kept, newest = self._store.webhooks, self._store.last_event_id()
        listening = [webhook for webhook in kept.all() if webhook.disabled_at is None]
        if not listening:  # nobody will be told what happens now, and nothing need be written
            self._skipped_to = newest
            self._improved.clear()
            return False
        position = max(kept.position(), self._skipped_to)
        events = self._store.events_after(position, limit=_EVENTS) if newest > position else []
        messages = [message for event in events for message in self._about(event, listening)]
        messages += self._about_best(listening)
        if events or messages:
            kept.send(messages, events[-1].id if events else None)
        return bool(events)

    def _about(self, event: Event, listening: list[Webhook]) -> list[Message]:
        if event.type in _WITH_VALUES and event.data.get("value") is not None:
            self._improved.add(event.sweep_id)
        what = _meant(event)
        told = [webhook for webhook in listening if what in webhook.events and event.at >= webhook.created_at]
        if what is None or not told:
            return []
        try:
            sweep = self._store.get_sweep(event.sweep_id)
            number = event.data.get("number")
            trial = None if number is None else self._store.get_trial(sweep.id, number)
        except NotFound:  # deleted since
            return []
        milestone = Milestone.model_validate(event.data) if what is WebhookEvent.SWEEP_BUDGET else None
        key = f"{what}/{sweep.id}/{_same(event)}"
        return [
            self._message(webhook, what, sweep, key, trial=trial, milestone=milestone)
            for webhook in told
            if _concerns(webhook, sweep)
        ]

    def _about_best(self, listening: list[Webhook]) -> list[Message]:
        wanting = [webhook for webhook in listening if WebhookEvent.SWEEP_BEST in webhook.events]
        now, messages = self._clock(), []
        self._told_at = {sweep_id: at for sweep_id, at in self._told_at.items() if now - at < BEST_EVERY_S}
        for sweep_id in self._improved - self._told_at.keys():
            self._improved.discard(sweep_id)
            with suppress(NotFound):
                told = self._best_of(self._store.get_sweep(sweep_id), wanting)
                messages += told
                if told:
                    self._told_at[sweep_id] = now
        return messages

    def _best_of(self, sweep: Sweep, wanting: list[Webhook]) -> list[Message]:
        best = sweep.best
        if sweep.state.finished:  # the end tells the best as well
            self._best.pop(sweep.id, None)
            return []
        if best is None or self._best.get(sweep.id) == (best.number, best.step):
            return []
        self._best[sweep.id] = (best.number, best.step)
        told = [webhook for webhook in wanting if _concerns(webhook, sweep)]
        if not told:
            return []
        reached = self._store.list_results(sweep.id, best.number, after_step=best.step - 1, limit=1)
        trial, key = self._store.get_trial(sweep.id, best.number), f"best/{sweep.id}/{best.number}/{best.step}"
        return [
            self._message(webhook, WebhookEvent.SWEEP_BEST, sweep, key, trial=trial)
            for webhook in told
            if not reached or reached[0].reported_at >= webhook.created_at
        ]

    def _message(
        self,
        webhook: Webhook,
        what: WebhookEvent,
        sweep: Sweep,
        key: str,
        *,
        trial: Trial | None = None,
        milestone: Milestone | None = None,
    ) -> Message:
        link = f"{self._address()}/sweeps/{sweep.id}"
        text = body(webhook.format, what, sweep, link, trial=trial, milestone=milestone)
        return Message(webhook.id, what, key, text, sweep.id)

    def _address(self) -> str:
        if self._public_url:
            return self._public_url.rstrip("/")
        try:
            return str(json.loads(self._home.service_file.read_text())["url"])
        except (OSError, ValueError, KeyError, TypeError):  # it is just starting
            return ""


def _meant(event: Event) -> WebhookEvent | None:
    if event.type == "sweep.state" and SweepState(event.data["state"]).finished:
        return WebhookEvent.SWEEP_ENDED
    if event.type == "trial.state" and event.data["state"] == "failed":
        return WebhookEvent.TRIAL_FAILED
    return WebhookEvent.SWEEP_BUDGET if event.type == "budget" else None


def _same(event: Event) -> str:
    """What makes two events one message: the error of a failed trial, else the event itself."""
    if event.type != "trial.state":
        return str(event.id)
    failure = event.data.get("failure") or {}
    return hashlib.sha256(str(failure.get("message") or event.data.get("reason")).encode()).hexdigest()[:32]


def _concerns(webhook: Webhook, sweep: Sweep) -> bool:
    return webhook.sweeps is WebhookSweeps.ALL or webhook.owner == sweep.owner
