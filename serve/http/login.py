"""Logging in: a browser shows a token once, and has a session from then on, for the page and for TensorBoard.

The token comes in a body, never in an address, and no script can read the cookie that stands for it.
"""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from toprung.access import Scope
from toprung.errors import Unauthorized
from toprung.serve.http import audit
from toprung.serve.http.access import AnyCaller, check_from_page, cookie_name, visitor
from toprung.serve.http.answers import record
from toprung.serve.http.bodies import read_json
from toprung.serve.http.context import Context
from toprung.serve.http.sessions import SESSION_S

router = APIRouter(include_in_schema=False)

_PATH = "/session"
_NOT_KEPT = {"Cache-Control": "no-store"}


class ShownToken(BaseModel):
    """What a browser logs in with."""

    model_config = ConfigDict(extra="forbid")

    token: str = Field(max_length=1_000, repr=False)


class Session(BaseModel):
    """Who is looking."""

    auth: bool
    """Whether this service asks for tokens; without that everybody may do everything, and is nobody."""
    owner: str | None
    scope: Scope


@router.get(_PATH, operation_id="getSession")
async def get_session(context: Context, caller: AnyCaller) -> Response:
    """Who the caller is; refused where the service asks for a token and has none from it."""
    return record(Session(auth=context.auth, owner=caller.owner, scope=caller.scope), headers=_NOT_KEPT)


@router.post(_PATH, operation_id="beginSession")
async def begin_session(request: Request, context: Context) -> Response:
    """Take a token, and answer with a cookie in its place.

    Raises:
        Unauthorized: the token is not known, or revoked.
        Forbidden: another site's page would log its visitor in.
    """
    if not context.auth:
        return record(Session(auth=False, owner=None, scope=Scope.ADMIN), headers=_NOT_KEPT)
    check_from_page(request)
    shown = await read_json(request, ShownToken, "A login")
    token = await asyncio.to_thread(context.store.find_token, shown.token.strip())
    if token is None or token.revoked_at is not None:
        raise Unauthorized(
            "This token is none of the service's, or was revoked. An admin makes one: `toprung token create`."
        )
    audit.note_caller(request.scope, token.owner, token.id)
    answer = record(Session(auth=True, owner=token.owner, scope=token.scope), headers=_NOT_KEPT)
    answer.set_cookie(
        cookie_name(request),
        context.sessions.begin(token.id),
        max_age=SESSION_S,
        secure=request.headers.get("origin", "").startswith("https://"),  # a proxy in front speaks TLS, not we
        httponly=True,
        samesite="strict",
    )
    return answer


@router.delete(_PATH, operation_id="endSession", status_code=204)
async def end_session(request: Request, context: Context) -> Response:
    """Log out: the cookie is worth nothing any more, wherever it is kept.

    Raises:
        Forbidden: another site's page would log its visitor out.
    """
    check_from_page(request)
    if (caller := await visitor(request, context)) is not None:
        audit.note_caller(request.scope, caller.owner, caller.token_id)
    context.sessions.end(request.cookies.get(cookie_name(request), ""))
    answer = Response(status_code=204, headers=_NOT_KEPT)
    answer.delete_cookie(cookie_name(request), httponly=True, samesite="strict")
    return answer
