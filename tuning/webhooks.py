"""Records of webhooks: who is told of what, and how telling them went."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from toprung.tuning.records import Record, UtcTime


class WebhookEvent(StrEnum):
    """What a webhook can be told of."""

    SWEEP_ENDED = "sweep.ended"
    SWEEP_BEST = "sweep.best"
    """There is a new best value; at most one a minute of each sweep."""
    SWEEP_BUDGET = "sweep.budget"
    """50, 80 or 100 % of a part of the budget is used."""
    TRIAL_FAILED = "trial.failed"
    """The same message of one sweep is told once."""


class WebhookFormat(StrEnum):
    """The shape of what is sent."""

    STANDARD = "standard"
    SLACK = "slack"
    """`text` and `blocks`, as Slack's incoming webhooks take them (Mattermost and Discord's `/slack` too)."""


class WebhookSweeps(StrEnum):
    """Whose sweeps a webhook is told of."""

    OWN = "own"
    ALL = "all"
    """Of everybody; an admin's alone may be."""


class Webhook(Record):
    """An address that is told of events, as the service shows it."""

    id: str
    url: str
    events: tuple[WebhookEvent, ...]
    format: WebhookFormat
    sweeps: WebhookSweeps
    owner: str | None = None
    """Whose it is; None where access control was off."""
    created_at: UtcTime
    disabled_at: UtcTime | None = None
    """Since when nothing is sent there any more."""
    disabled_reason: str | None = None


class NewWebhook(Webhook):
    """A webhook that was just made."""

    secret: str = Field(repr=False)
    """`whsec_…`, what its messages are signed with. This is the only time that it can be read."""


class DeliveryState(StrEnum):
    PENDING = "pending"
    """It was not sent yet, or is to be sent again."""
    DELIVERED = "delivered"
    FAILED = "failed"
    """All attempts failed, or it is not tried again."""


class Delivery(Record):
    """One message to one webhook."""

    id: str
    """The message's, `msg_…`: the `webhook-id` that all its attempts carry."""
    webhook_id: str
    event: str
    """What it tells; `test` for a trial of the address."""
    sweep_id: str | None = None
    state: DeliveryState
    attempts: int = 0
    created_at: UtcTime
    next_at: UtcTime | None = None
    """When it is sent next; None: never again."""
    status: int | None = None
    """HTTP status of the last answer; None where there was none."""
    error: str | None = None
    """Why the last attempt failed."""
    duration_ms: float | None = None
    """Of the last attempt."""
    finished_at: UtcTime | None = None
