"""Tokens: make, list, revoke. For admins."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from toprung.access import NewToken, Owner, Scope, Token
from toprung.errors import Conflict
from toprung.serve.http import audit
from toprung.serve.http.access import Admin
from toprung.serve.http.answers import JSON, items, record
from toprung.serve.http.bodies import read_json
from toprung.serve.http.context import Context, Services
from toprung.serve.http.endpoints.documented import problems

router = APIRouter(tags=["tokens"])

TokenId = Annotated[str, Path(description="What the token begins with.", examples=["tpr_3k9x0m7a2b5c"])]


class TokenRequest(BaseModel):
    """Whose token it will be, and what it may do."""

    model_config = ConfigDict(extra="forbid")

    owner: Owner
    scope: Scope


async def _wanted(request: Request, caller: Admin) -> TokenRequest:
    """The body."""
    return await read_json(request, TokenRequest, "A token's request")


_WANTED = {
    "type": "object",
    "required": ["owner", "scope"],
    "properties": {"owner": {"type": "string"}, "scope": {"enum": [scope.value for scope in Scope]}},
}
"""For OpenAPI."""


class Tokens(BaseModel):
    items: list[Token]


@router.post(
    "/v1/tokens",
    operation_id="createToken",
    status_code=201,
    response_model=NewToken,
    responses=problems(400, 403, 409, 413, 415),
    openapi_extra={"requestBody": {"required": True, "content": {JSON: {"schema": _WANTED}}}},
)
def create_token(context: Context, request: Request, wanted: Annotated[TokenRequest, Depends(_wanted)]) -> Response:
    """Make a token. The answer holds it; nothing tells it a second time."""
    _check_on(context)
    made = context.store.create_token(wanted.owner, wanted.scope)
    audit.note_target(request.scope, made.id)
    return record(made, 201, {"Cache-Control": "no-store"})


@router.get("/v1/tokens", operation_id="listTokens", response_model=Tokens, responses=problems(403, 409))
def list_tokens(context: Context, caller: Admin) -> Response:
    """All tokens, revoked ones too, without what proves them."""
    _check_on(context)
    return items(context.store.list_tokens())


@router.delete(
    "/v1/tokens/{token_id}", operation_id="revokeToken", response_model=Token, responses=problems(403, 404, 409)
)
def revoke_token(context: Context, caller: Admin, request: Request, token_id: TokenId) -> Response:
    """Make a token worthless from now on. A stream that is open ends within 15 minutes."""
    _check_on(context)
    revoked = context.store.revoke_token(token_id)
    audit.note_target(request.scope, revoked.id)
    return record(revoked)


def _check_on(context: Services) -> None:
    """Where everybody may do everything, nobody may make a token for later, when that is over.

    Raises:
        Conflict: access control is off.
    """
    if not context.auth:
        raise Conflict("This service runs without access control and has no tokens; start it with `toprung up --auth`.")
