"""Who calls, and what they may do: bearer tokens (RFC 6750), scopes, owners. docs/access.md tells the rules.

A browser that has logged in (`login.py`) sends a cookie in the token's place, and does so for any page that makes it
ask. So what a cookie may change must come from our page: it says so in a header that no other site's page can set
without our leave, and the browser says where the request comes from.

Every router but the probes is included with `AUTHENTICATED`, so that a route that asks for nothing itself still needs
a token that may read; what changes something asks for a `Writer`, an `Admin` or an `OwnSweepId`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from toprung.access import Scope
from toprung.errors import Forbidden, Unauthorized
from toprung.serve.http import audit
from toprung.serve.http.context import Context, Services, SweepRef
from toprung.tuning.records import Sweep

_REMEDY = "Set TOPRUNG_TOKEN, or send `Authorization: Bearer …`; an admin makes tokens with `toprung token create`."
PAGE_HEADER = "X-Toprung"
PAGE = "page"
_bearer = HTTPBearer(auto_error=False, scheme_name="token", description="A token of `toprung token create`.")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose token came with a request."""

    owner: str | None
    """None where access control is off: whoever reaches the service may do everything, and is nobody."""
    token_id: str | None
    scope: Scope

    def may_change(self, sweep: Sweep) -> bool:
        """A sweep is its owner's; one that was submitted without access control is an admin's alone."""
        if self.scope is Scope.ADMIN:
            return True
        return self.scope.covers(Scope.WRITE) and self.owner == sweep.owner


ANYBODY = Caller(None, None, Scope.ADMIN)


Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
"""The token that came with a request."""


async def caller_of(request: Request, context: Context, credentials: Credentials) -> Caller:
    """Who calls.

    Raises:
        Unauthorized: no token came, or one that is not known or revoked. Which of these is not said, nor is the token.
        Forbidden: a cookie came in its place with a change that no page of ours asks for.
    """
    if not context.auth:
        return ANYBODY
    if credentials is None:
        if (caller := await visitor(request, context)) is not None:
            check_from_page(request)
            return caller
        raise Unauthorized(f"This service asks for a token, and the request has none. {_REMEDY}")
    token = await asyncio.to_thread(context.store.find_token, credentials.credentials)
    if token is None or token.revoked_at is not None:
        raise Unauthorized(f"The token is none of this service's, or was revoked. {_REMEDY}")
    return Caller(token.owner, token.id, token.scope)


def cookie_name(request: Request) -> str:
    """What a browser keeps the session by at this address.

    It keeps cookies by host, whatever the port: services on one machine would log each other's users out.
    """
    port = request.headers.get("host", "").rpartition(":")[2]
    return f"toprung_session_{port}" if port.isascii() and port.isdecimal() else "toprung_session"


async def visitor(request: Request, context: Services) -> Caller | None:
    """Whose browser it is, by the cookie of its session; None where there is none, or it has ended."""
    token_id = context.sessions.token_id(request.cookies.get(cookie_name(request), ""))
    if token_id is None:
        return None
    token = await asyncio.to_thread(context.store.get_token, token_id)
    if token is None or token.revoked_at is not None:
        return None
    return Caller(token.owner, token.id, token.scope)


def check_from_page(request: Request) -> None:
    """Lets a request that may change something pass only if our own page has sent it.

    Raises:
        Forbidden: it may come from another site's page.
    """
    if request.method in ("GET", "HEAD"):
        return
    headers = request.headers
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")  # the gate has compared the origin
    ours = site == "same-origin" if site is not None else origin is not None
    if headers.get(PAGE_HEADER) != PAGE or not ours:
        raise Forbidden(
            f"A browser's session changes something only for this service's page, which sends `{PAGE_HEADER}: {PAGE}` "
            "from its own origin. Programs send `Authorization: Bearer …`."
        )


AnyCaller = Annotated[Caller, Depends(caller_of)]


def _with(scope: Scope) -> Callable[[Request, Caller], Awaitable[Caller]]:
    async def check(request: Request, caller: AnyCaller) -> Caller:
        """The caller.

        Raises:
            Forbidden: the token's scope is not enough.
        """
        if scope is not Scope.READ:
            audit.note_caller(request.scope, caller.owner, caller.token_id)
        if not caller.scope.covers(scope):
            raise Forbidden(
                f"This takes a token with scope {scope}; yours ({caller.token_id}) has {caller.scope}. "
                "An admin makes one with `toprung token create`; set it as TOPRUNG_TOKEN."
            )
        return caller

    return check


AUTHENTICATED = Depends(_with(Scope.READ))
Writer = Annotated[Caller, Depends(_with(Scope.WRITE))]
Admin = Annotated[Caller, Depends(_with(Scope.ADMIN))]


def _own_sweep_id(request: Request, context: Context, caller: Writer, sweep: SweepRef) -> str:
    """The id of the sweep in the path, which the caller may change.

    Raises:
        NotFound: there is none.
        Forbidden: it is somebody else's.
    """
    found = context.store.get_sweep(sweep)
    audit.note_target(request.scope, found.id)
    if not caller.may_change(found):
        whose = f"belongs to {found.owner}" if found.owner else "has no owner"
        raise Forbidden(
            f"Sweep {found.name} {whose}, and your token is {caller.owner}'s. "
            "Its owner or an admin may change it: set the TOPRUNG_TOKEN of one of them."
        )
    return found.id


OwnSweepId = Annotated[str, Depends(_own_sweep_id)]
