"""Webhooks: make, list, delete, try, and how their deliveries went. For their owners, and admins."""

from __future__ import annotations

from typing import Annotated

import fastapi
from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from toprung.access import Scope
from toprung.errors import Forbidden, Malformed, Problem
from toprung.serve.http import audit
from toprung.serve.http.access import Caller, Writer
from toprung.serve.http.answers import JSON, items, record
from toprung.serve.http.bodies import read_json
from toprung.serve.http.context import Context, Services
from toprung.serve.http.endpoints.documented import Query, problems
from toprung.serve.webhooks.address import Refused, resolve
from toprung.serve.webhooks.payload import test_body
from toprung.tuning.webhooks import (
    Delivery,
    NewWebhook,
    Webhook,
    WebhookEvent,
    WebhookFormat,
    WebhookSweeps,
)

router = APIRouter(tags=["webhooks"])

WebhookId = Annotated[str, Path(examples=["whk_3k9x0m7a2b5c"])]


class WebhookRequest(BaseModel):
    """Where to tell what."""

    model_config = ConfigDict(extra="forbid")

    url: str
    events: tuple[WebhookEvent, ...] = Field(tuple(WebhookEvent), min_length=1)
    format: WebhookFormat = WebhookFormat.STANDARD
    sweeps: WebhookSweeps | None = None
    """None: all for an admin, else one's own."""


class DeliveryQuery(Query):
    limit: int = Field(50, ge=1, le=1_000)


class Webhooks(BaseModel):
    items: list[Webhook]


class Deliveries(BaseModel):
    items: list[Delivery]


async def _wanted(request: Request, caller: Writer) -> WebhookRequest:
    """The body."""
    return await read_json(request, WebhookRequest, "A webhook's request")


_WANTED = {
    "type": "object",
    "required": ["url"],
    "properties": {
        "url": {"type": "string", "format": "uri"},
        "events": {"type": "array", "items": {"enum": [event.value for event in WebhookEvent]}},
        "format": {"enum": [format.value for format in WebhookFormat]},
        "sweeps": {"enum": [whose.value for whose in WebhookSweeps]},
    },
}
"""For OpenAPI."""


@router.post(
    "/v1/webhooks",
    operation_id="createWebhook",
    status_code=201,
    response_model=NewWebhook,
    responses=problems(400, 403, 409, 413, 415),
    openapi_extra={"requestBody": {"required": True, "content": {JSON: {"schema": _WANTED}}}},
)
def create_webhook(
    context: Context, request: Request, caller: Writer, wanted: Annotated[WebhookRequest, Depends(_wanted)]
) -> Response:
    """Make a webhook. The answer holds the secret of its signatures; nothing tells it a second time."""
    is_admin = caller.scope is Scope.ADMIN
    sweeps = wanted.sweeps or (WebhookSweeps.ALL if is_admin else WebhookSweeps.OWN)
    if sweeps is WebhookSweeps.ALL and not is_admin:
        raise Forbidden("Only an admin's webhook may be told of everybody's sweeps; leave `sweeps` out for your own.")
    _check_address(context, wanted.url)
    made = context.store.webhooks.create(
        wanted.url, events=dict.fromkeys(wanted.events), format=wanted.format, sweeps=sweeps, owner=caller.owner
    )
    audit.note_target(request.scope, made.id)
    return record(made, 201, {"Cache-Control": "no-store"})


@router.get("/v1/webhooks", operation_id="listWebhooks", response_model=Webhooks, responses=problems(403))
def list_webhooks(context: Context, caller: Writer) -> Response:
    """Your webhooks, an admin's are all; without their secrets."""
    return items(webhook for webhook in context.store.webhooks.all() if _may(caller, webhook))


@router.delete("/v1/webhooks/{webhook_id}", operation_id="deleteWebhook", status_code=204, responses=problems(403, 404))
def delete_webhook(context: Context, caller: Writer, request: Request, webhook_id: WebhookId) -> Response:
    """Tell it nothing any more, and forget its deliveries."""
    webhook = _own(context, caller, request, webhook_id)
    context.store.webhooks.delete(webhook.id)
    return Response(status_code=204)


@router.post(
    "/v1/webhooks/{webhook_id}:test",
    operation_id="testWebhook",
    status_code=202,
    response_model=Delivery,
    responses=problems(403, 404),
)
def test_webhook(context: Context, caller: Writer, request: Request, webhook_id: WebhookId) -> Response:
    """Send it a message, once. One that arrives turns a webhook on again that was off."""
    webhook = _own(context, caller, request, webhook_id)
    return record(context.store.webhooks.send_test(webhook.id, test_body(webhook.format)), 202)


@router.get(
    "/v1/webhooks/{webhook_id}/deliveries",
    operation_id="listDeliveries",
    response_model=Deliveries,
    responses=problems(400, 403, 404),
)
def list_deliveries(
    context: Context,
    caller: Writer,
    request: Request,
    webhook_id: WebhookId,
    query: Annotated[DeliveryQuery, fastapi.Query()],
) -> Response:
    """What was sent to it in the last 30 days, the newest first, and how that went."""
    webhook = _own(context, caller, request, webhook_id)
    return items(context.store.webhooks.deliveries(webhook.id, query.limit))


def _may(caller: Caller, webhook: Webhook) -> bool:
    return caller.scope is Scope.ADMIN or webhook.owner == caller.owner


def _own(context: Services, caller: Caller, request: Request, webhook_id: str) -> Webhook:
    """Raises:
    NotFound: there is no such webhook.
    Forbidden: it is somebody else's.
    """
    webhook = context.store.webhooks.get(webhook_id)
    audit.note_target(request.scope, webhook.id)
    if not _may(caller, webhook):
        raise Forbidden(f"Webhook {webhook.id} is not {caller.owner}'s. Its owner or an admin may see and change it.")
    return webhook


def _check_address(context: Services, url: str) -> None:
    """Raises:
    Malformed: the address may not be told anything, or is none.
    """
    try:
        resolve(url, context.settings.webhooks.allow)
        return
    except Refused as refused:
        said = str(refused)
    except (OSError, UnicodeError):
        said = "has a host that no address is known of; check its name"
    raise Malformed(f"/url {said}.", problems=[Problem("/url", "bad_address", said)])
