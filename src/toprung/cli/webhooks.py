"""Commands about webhooks: create, list, delete, test, deliveries."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from toprung.cli.session import Session, command
from toprung.cli.tables import table
from toprung.cli.words import ago

if TYPE_CHECKING:
    from toprung.tuning.webhooks import Delivery

PANEL = "Service"
TEST_WITHIN_S = 20.0
NOT_DELIVERED = 1


class EventName(StrEnum):
    sweep_ended = "sweep.ended"
    sweep_best = "sweep.best"
    sweep_budget = "sweep.budget"
    trial_failed = "trial.failed"


class FormatName(StrEnum):
    standard = "standard"
    slack = "slack"


class WhoseName(StrEnum):
    own = "own"
    all = "all"


WebhookArgument = Annotated[str, typer.Argument(metavar="WEBHOOK", help="Its id, whk_….")]


def create(
    session: Session,
    address: Annotated[str, typer.Argument(metavar="URL", help="Where messages go.")],
    event: Annotated[list[EventName] | None, typer.Option("--event", help="What to tell; again for more. All.")] = None,
    format: Annotated[FormatName, typer.Option("--format", help="The shape of messages.")] = FormatName.standard,
    sweeps: Annotated[WhoseName | None, typer.Option("--sweeps", help="Whose; all is for admins.")] = None,
) -> None:
    """Have an address told of events; shows the secret of its signatures once."""
    made = session.client.create_webhook(
        address,
        events=[name.value for name in event] if event else None,
        format=format.value,
        sweeps=sweeps.value if sweeps else None,
    )
    if session.as_json:
        session.emit(made.model_dump(mode="json"))
        return
    session.err.print(f"{made.id} is told of {', '.join(made.events)}. Its secret is shown this once:")
    session.out.print(made.secret)


def list_(session: Session) -> None:
    """List your webhooks; an admin sees all."""
    found = session.client.webhooks()
    if session.as_json:
        session.emit({"items": [webhook.model_dump(mode="json") for webhook in found]})
        return
    made = table("id", "owner", "url", "events", "format", "sweeps", "created", "state")
    for hook in found:
        state = Text("on", "green") if hook.disabled_at is None else Text(f"off: {hook.disabled_reason}", "red")
        events = ", ".join(hook.events)
        owner, url = Text(hook.owner or "–"), Text(hook.url)
        made.add_row(hook.id, owner, url, events, str(hook.format), str(hook.sweeps), ago(hook.created_at), state)
    session.out.print(made)


def delete(session: Session, webhook: WebhookArgument) -> None:
    """Tell an address nothing any more."""
    session.client.delete_webhook(webhook)
    if session.as_json:
        session.emit({"deleted": webhook})
    else:
        session.out.print(f"{webhook} is deleted.")


def test(session: Session, webhook: WebhookArgument) -> None:
    """Send a message now and say how that went; one that arrives turns a webhook on again."""
    sent = session.client.test_webhook(webhook)
    ends_at = time.monotonic() + TEST_WITHIN_S
    while sent.state == "pending" and time.monotonic() < ends_at:
        time.sleep(0.2)
        latest = session.client.webhook_deliveries(webhook, limit=100)
        sent = next((delivery for delivery in latest if delivery.id == sent.id), sent)
    if session.as_json:
        session.emit(sent.model_dump(mode="json"))
    elif sent.state == "pending":
        session.err.print(f"It was not sent in {TEST_WITHIN_S:.0f} s; see `toprung webhook deliveries {webhook}`.")
    else:
        session.out.print(f"{sent.state}: {_told(sent)}")
    if sent.state != "delivered":
        raise typer.Exit(NOT_DELIVERED)


def deliveries(
    session: Session,
    webhook: WebhookArgument,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, metavar="N", help="At most so many.")] = 50,
) -> None:
    """What was sent, the newest first, and how that went."""
    found = session.client.webhook_deliveries(webhook, limit=limit)
    if session.as_json:
        session.emit({"items": [delivery.model_dump(mode="json") for delivery in found]})
        return
    made = table("id", "event", "sweep", "state", "attempts", "created", "last attempt", right=("attempts",))
    for sent in found:
        about = (sent.id, sent.event, sent.sweep_id or "–", str(sent.state), str(sent.attempts))
        made.add_row(*about, ago(sent.created_at), Text(_told(sent)))
    session.out.print(made)


def _told(sent: Delivery) -> str:
    if sent.duration_ms is None:
        return "–"
    return f"{sent.error or sent.status} in {sent.duration_ms:,.0f} ms"


def register(app: typer.Typer) -> None:
    webhooks = typer.Typer(help="Have other services told of what happens: create, list, delete, test, deliveries.")
    command(webhooks, PANEL)(create)
    command(webhooks, PANEL, "list")(list_)
    command(webhooks, PANEL)(delete)
    command(webhooks, PANEL)(test)
    command(webhooks, PANEL)(deliveries)
    app.add_typer(webhooks, name="webhook", rich_help_panel=PANEL)
