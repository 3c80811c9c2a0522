"""Webhooks and their deliveries. A delivery is on disk before it is sent; it has arrived, or is given up."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import from_json
from sqlalchemy import Connection, Row, delete, func, insert, select, update

from toprung.errors import Conflict, NotFound
from toprung.serve.store.database import Database
from toprung.serve.store.ids import ALPHABET
from toprung.serve.store.rows import to_text
from toprung.serve.store.tables import cursors, deliveries, webhooks
from toprung.tuning.records import utc_now
from toprung.tuning.webhooks import (
    Delivery,
    DeliveryState,
    NewWebhook,
    Webhook,
    WebhookEvent,
    WebhookFormat,
    WebhookSweeps,
)

MOST = 100
"""Webhooks that one owner may have."""
TEST = "test"
_CURSOR = "webhooks/events"
_SECRET_BYTES = 32


@dataclass(frozen=True)
class Message:
    """What is to be told to a webhook; `key` says what makes it the same as another one to it."""

    webhook_id: str
    event: str
    key: str
    body: str
    sweep_id: str | None = None


@dataclass(frozen=True)
class Due:
    """A delivery that is to be sent now."""

    delivery: Delivery
    body: str
    url: str
    secret: str


class Webhooks:
    """The part of a store that is about webhooks. Errors are those of `Store`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        url: str,
        *,
        events: Iterable[WebhookEvent],
        format: WebhookFormat = WebhookFormat.STANDARD,
        sweeps: WebhookSweeps = WebhookSweeps.ALL,
        owner: str | None = None,
    ) -> NewWebhook:
        """Make a webhook. What this returns is the only time that its secret is shown.

        Raises:
            Conflict: the owner has very many.
        """
        made = NewWebhook(
            id=_new_id("whk_", 12),
            url=url,
            events=tuple(events),
            format=format,
            sweeps=sweeps,
            owner=owner,
            created_at=utc_now(),
            secret="whsec_" + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode(),
        )
        with self._database.write() as connection:
            theirs = select(func.count()).select_from(webhooks).where(webhooks.c.owner.is_not_distinct_from(owner))
            if connection.execute(theirs).scalar_one() >= MOST:
                raise Conflict(f"There are {MOST} webhooks already; delete one first (`toprung webhook delete`).")
            connection.execute(insert(webhooks).values(made.model_dump() | {"events": to_text(list(made.events))}))
        return made

    def all(self) -> list[Webhook]:
        """All of them, the oldest first, without their secrets."""
        with self._database.read() as connection:
            query = select(webhooks).order_by(webhooks.c.created_at, webhooks.c.id)
            return [_webhook_of(row) for row in connection.execute(query)]

    def get(self, webhook_id: str) -> Webhook:
        """One of them.

        Raises:
            NotFound: there is none.
        """
        with self._database.read() as connection:
            return _get(connection, webhook_id)

    def delete(self, webhook_id: str) -> None:
        """Remove one with its deliveries; what is on its way may still arrive.

        Raises:
            NotFound: there is none.
        """
        with self._database.write() as connection:
            _get(connection, webhook_id)
            connection.execute(delete(deliveries).where(deliveries.c.webhook_id == webhook_id))
            connection.execute(delete(webhooks).where(webhooks.c.id == webhook_id))

    def disable(self, webhook_id: str, reason: str | None) -> None:
        """Send nothing there any more, and give up what waits; None: send again."""
        with self._database.write() as connection:
            at = None if reason is None else utc_now()
            changed = update(webhooks).where(webhooks.c.id == webhook_id)
            connection.execute(changed.values(disabled_at=at, disabled_reason=reason))
            if reason is not None:
                waiting = update(deliveries).where(
                    deliveries.c.webhook_id == webhook_id, deliveries.c.next_at.isnot(None)
                )
                connection.execute(waiting.values(next_at=None, state=DeliveryState.FAILED.value, finished_at=at))

    # -- deliveries ---------------------------------------------------------------------------------------------

    def deliveries(self, webhook_id: str, limit: int) -> list[Delivery]:
        """The newest first.

        Raises:
            NotFound: there is no such webhook.
        """
        with self._database.read() as connection:
            _get(connection, webhook_id)
            query = select(deliveries).where(deliveries.c.webhook_id == webhook_id)
            query = query.order_by(deliveries.c.created_at.desc(), deliveries.c.id).limit(limit)
            return [_delivery_of(row) for row in connection.execute(query)]

    def position(self) -> int:
        """The event up to which messages have been made; -1 before the first."""
        with self._database.read() as connection:
            found = connection.execute(select(cursors.c.value).where(cursors.c.name == _CURSOR)).scalar()
            return -1 if found is None else int(found)

    def send(self, messages: Iterable[Message], position: int | None = None) -> None:
        """Keep messages to be sent, each key to a webhook once, and how far the events were read, in one step."""
        with self._database.write() as connection:
            for message in messages:
                self._add(connection, message)
            if position is not None:
                noted = self._database.insert(cursors).values(name=_CURSOR, value=position)
                connection.execute(noted.on_conflict_do_update(index_elements=["name"], set_={"value": position}))

    def send_test(self, webhook_id: str, body: str) -> Delivery:
        """Keep a message that only tries the address.

        Raises:
            NotFound: there is no such webhook.
        """
        with self._database.write() as connection:
            _get(connection, webhook_id)
            message_id = self._add(connection, Message(webhook_id, TEST, f"test/{_new_id('', 12)}", body))
            row = connection.execute(select(deliveries).where(deliveries.c.id == message_id)).one()
            return _delivery_of(row)

    def due(self, limit: int, besides: Collection[str] = ()) -> list[Due]:
        """What is to be sent by now, what has waited the longest first; of a disabled webhook only tests.

        Args:
            besides: webhooks that are left out.
        """
        with self._database.read() as connection:
            query = select(deliveries, webhooks.c.url, webhooks.c.secret).join(webhooks)
            query = query.where(
                deliveries.c.next_at <= utc_now(), webhooks.c.disabled_at.is_(None) | (deliveries.c.event == TEST)
            )
            query = query.where(webhooks.c.id.not_in(list(besides)))
            rows = connection.execute(query.order_by(deliveries.c.next_at).limit(limit))
            return [Due(_delivery_of(row), row.body, row.url, row.secret) for row in rows]

    def note(
        self,
        message_id: str,
        *,
        status: int | None,
        error: str | None,
        duration_ms: float,
        next_at: datetime | None,
    ) -> None:
        """What an attempt came to: it arrived (no error), is tried again at `next_at`, or is given up."""
        state = DeliveryState.DELIVERED if error is None else DeliveryState.PENDING if next_at else DeliveryState.FAILED
        values = {
            "status": status,
            "error": error,
            "duration_ms": duration_ms,
            "next_at": next_at,
            "state": state.value,
            "finished_at": None if next_at else utc_now(),
            "attempts": deliveries.c.attempts + 1,
        }
        with self._database.write() as connection:
            connection.execute(update(deliveries).where(deliveries.c.id == message_id).values(values))

    def arrived_since(self, webhook_id: str, since: datetime) -> bool:
        """Whether anything has arrived there since then."""
        with self._database.read() as connection:
            arrived = deliveries.c.state == DeliveryState.DELIVERED.value
            query = select(deliveries.c.id).where(deliveries.c.webhook_id == webhook_id, arrived)
            return connection.execute(query.where(deliveries.c.finished_at >= since).limit(1)).first() is not None

    def forget(self, before: datetime) -> None:
        """Remove deliveries that were finished before then."""
        with self._database.write() as connection:
            connection.execute(delete(deliveries).where(deliveries.c.finished_at < before))

    def _add(self, connection: Connection, message: Message) -> str:
        now, message_id = utc_now(), _new_id("msg_", 24)
        row: dict[str, Any] = {
            "id": message_id,
            "webhook_id": message.webhook_id,
            "event": message.event,
            "sweep_id": message.sweep_id,
            "key": message.key,
            "body": message.body,
            "state": DeliveryState.PENDING.value,
            "attempts": 0,
            "created_at": now,
            "next_at": now,
        }
        connection.execute(self._database.insert(deliveries).values(row).on_conflict_do_nothing())
        return message_id


def _get(connection: Connection, webhook_id: str) -> Webhook:
    row = None
    if webhook_id.isprintable():  # PostgreSQL refuses a NUL even to compare with
        row = connection.execute(select(webhooks).where(webhooks.c.id == webhook_id)).one_or_none()
    if row is None:
        raise NotFound(f"There is no webhook {webhook_id[:40]!r}; `toprung webhook list` shows those there are.")
    return _webhook_of(row)


def _webhook_of(row: Row[Any]) -> Webhook:
    fields = {name: row._mapping[name] for name in Webhook.model_fields}
    return Webhook.model_validate(fields | {"events": from_json(row.events)})


def _delivery_of(row: Row[Any]) -> Delivery:
    return Delivery.model_validate({name: row._mapping[name] for name in Delivery.model_fields})


def _new_id(prefix: str, length: int) -> str:
    return prefix + "".join(secrets.choice(ALPHABET) for _ in range(length))
