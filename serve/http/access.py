"""Who calls, and what they may do: bearer tokens (RFC 6750), scopes, owners. docs/access.md tells the rules.

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
from toprung.serve.http.context import Context, SweepRef
from toprung.tuning.records import Sweep

_REMEDY = "Set TOPRUNG_TOKEN, or send `Authorization: Bearer …`; an admin makes tokens with `toprung token create`."
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


async def caller_of(context: Context, credentials: Credentials) -> Caller:
    """Who calls.

    Raises:
        Unauthorized: no token came, or one that is not known or revoked. Which of these is not said, nor is the token.
    """
    if not context.auth:
        return ANYBODY
    if credentials is None:
        raise Unauthorized(f"This service asks for a token, and the request has none. {_REMEDY}")
    token = await asyncio.to_thread(context.store.find_token, credentials.credentials)
    if token is None or token.revoked_at is not None:
        raise Unauthorized(f"The token is none of this service's, or was revoked. {_REMEDY}")
    return Caller(token.owner, token.id, token.scope)


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
