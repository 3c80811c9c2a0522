"""Pages of other programs below the service's URL: who may see them, and how they are asked for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import quote

import httpx
from fastapi import Request
from fastapi.security import HTTPAuthorizationCredentials
from starlette.responses import RedirectResponse, Response

from toprung.errors import Unauthorized, Unavailable
from toprung.serve.http.access import caller_of, visitor
from toprung.serve.http.bodies import limited
from toprung.serve.http.context import Services
from toprung.serve.tracking.live import Program

_MAX_BYTES = 1024 * 1024
_ANSWER_S = 60.0
_ASKED = ("accept", "accept-encoding", "content-type")
_ANSWERED = (
    "cache-control",
    "content-encoding",
    "content-security-policy",
    "content-type",
    "expires",
    "location",
    "vary",
)


async def to_login(
    request: Request, context: Services, credentials: HTTPAuthorizationCredentials | None
) -> Response | None:
    """Where a browser without a session is led; None for who may read.

    Raises:
        Unauthorized: no token came with the request, and no session, and it isn't for a page.
    """
    try:
        if credentials is not None or await visitor(request, context) is None:
            await caller_of(request, context, credentials)
    except Unauthorized:
        if credentials is None and request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            page = quote(with_query(request.url.path, request), safe="")
            return RedirectResponse(f"/login?next={page}", 303, {"Cache-Control": "no-store"})
        raise
    return None


async def ask(request: Request, context: Services, program: Program, prefix: str, shown: Path) -> Response:
    """Passes the request on to a program, and its answer back; once more if it has died meanwhile.

    Args:
        prefix: what the paths of its pages begin with.
        shown: the folder that it shows.

    Raises:
        Unavailable: it does not start, or does not answer.
    """
    body = b"".join([chunk async for chunk in limited(request, _MAX_BYTES, f"A request to {program.name}")])
    headers = {name: value for name in _ASKED if (value := request.headers.get(name)) is not None}
    headers.setdefault("accept-encoding", "identity")  # else httpx says that it takes others
    url = httpx.URL(scheme="http", host="program", path=request.url.path, query=request.url.query.encode())
    for _ in range(2):
        socket = await asyncio.to_thread(context.boards.socket_of, prefix, shown, program)
        transport = httpx.AsyncHTTPTransport(uds=socket, verify=False)
        try:
            async with (
                httpx.AsyncClient(transport=transport, timeout=_ANSWER_S, trust_env=False) as client,
                client.stream(request.method, url, headers=headers, content=body) as answer,
            ):
                text = b"".join([chunk async for chunk in answer.aiter_raw()])
        except httpx.TransportError:
            continue
        passed = {name: answer.headers[name] for name in _ANSWERED if name in answer.headers}
        return Response(text, answer.status_code, passed)
    raise Unavailable(f"{program.name} does not answer; try again.")


def redirect(path: str, request: Request) -> Response:
    """To another path, with the request's query."""
    return RedirectResponse(with_query(path, request), 307)


def with_query(path: str, request: Request) -> str:
    """The path with the request's query."""
    return f"{path}?{request.url.query}" if request.url.query else path
