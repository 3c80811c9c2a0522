"""What all routes share: the service's parts, bodies of bounded size, ETags."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from toprung.errors import TooLarge
from toprung.serve.home import Home
from toprung.serve.packages import Packages
from toprung.serve.store import Store
from toprung.tuning.spec import Resources

if TYPE_CHECKING:
    from toprung.serve.stream import Broadcaster

Slots = Callable[[Resources], int]
"""How many trials with these resources fit on the cluster at once."""


@dataclass(frozen=True)
class Parts:
    """What the routes work with."""

    store: Store
    home: Home
    packages: Packages
    broadcaster: Broadcaster
    slots: Slots | None


def _parts(request: Request) -> Parts:
    parts: Parts = request.app.state.parts
    return parts


PartsDep = Annotated[Parts, Depends(_parts)]
Limit = Annotated[int, Query(ge=1, le=1000, description="Most items of a page.")]
Cursor = Annotated[str | None, Query(description="`next_cursor` of the page before.")]


async def bounded(request: Request, limit_bytes: int, remedy: str) -> AsyncIterator[bytes]:
    """The body's chunks.

    Raises:
        TooLarge: there are more bytes than the limit, whatever Content-Length says.
    """
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
        if total > limit_bytes:
            raise TooLarge(f"the body is larger than {limit_bytes // 1024 // 1024} MiB; {remedy}")
        yield chunk


def tagged(request: Request, model: BaseModel) -> Response:
    """The model as JSON with a strong ETag, or 304 if the client has it already."""
    body = model.model_dump_json().encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    known = [part.strip() for part in request.headers.get("if-none-match", "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)
