"""TensorBoard under `/tensorboard/`, for those who may read.

`/tensorboard/` shows all sweeps, `/tensorboard/<sweep's id>/` one. A browser can't be made to send a token with each
picture of a page: it is led to the login (`login.py`), whose cookie opens these pages as well. What TensorBoard is
asked changes nothing, also where it is a POST.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from urllib.parse import quote

import httpx
from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from toprung.errors import NotFound, Unauthorized, Unavailable
from toprung.serve.http.access import Credentials, caller_of, visitor
from toprung.serve.http.bodies import limited
from toprung.serve.http.context import Context, Services
from toprung.serve.tracking.sink import folder_name

router = APIRouter(include_in_schema=False)

ROOT = "/tensorboard"
_SWEEP = re.compile(r"(swp_[0-9a-z]+)(/.*)?")
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


@router.get(ROOT)
async def to_the_page(request: Request) -> Response:
    """The page's paths are relative to its own, with a slash."""
    return _redirect(f"{ROOT}/", request)


@router.api_route(f"{ROOT}/{{path:path}}", methods=["GET", "HEAD", "POST"])
async def show(request: Request, context: Context, credentials: Credentials, path: str) -> Response:
    """A page of TensorBoard's, or what it asks for.

    Raises:
        Unauthorized: no token came with the request, and no session.
        NotFound: there is no such sweep, or it has nothing for TensorBoard.
        Unavailable: TensorBoard does not start, or does not answer.
    """
    try:
        if credentials is not None or await visitor(request, context) is None:
            await caller_of(request, context, credentials)
    except Unauthorized:
        if credentials is None and request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            page = quote(_with_query(request.url.path, request), safe="")
            return RedirectResponse(f"/login?next={page}", 303, {"Cache-Control": "no-store"})
        raise
    prefix, logdir = ROOT, context.home.tensorboard
    if sweep := _SWEEP.fullmatch(path):
        prefix = f"{ROOT}/{sweep[1]}"
        logdir = await asyncio.to_thread(_folder, context, sweep[1])
        if not sweep[2]:
            return _redirect(f"{prefix}/", request)
    return await _ask(request, context, prefix, logdir)


def _folder(context: Services, sweep_id: str) -> Path:
    sweep = context.store.get_sweep(sweep_id)
    if not sweep.spec.tracking.tensorboard:
        raise NotFound(
            f"Sweep {sweep.name} is not written for TensorBoard: its spec has `tracking.tensorboard: false`."
        )
    return context.home.tensorboard / folder_name(sweep)


async def _ask(request: Request, context: Services, prefix: str, logdir: Path) -> Response:
    """Passes the request on to TensorBoard, and its answer back; once more if it has died meanwhile."""
    body = b"".join([chunk async for chunk in limited(request, _MAX_BYTES, "A request to TensorBoard")])
    headers = {name: value for name in _ASKED if (value := request.headers.get(name)) is not None}
    headers.setdefault("accept-encoding", "identity")  # else httpx says that it takes others
    url = httpx.URL(scheme="http", host="tensorboard", path=request.url.path, query=request.url.query.encode())
    for _ in range(2):
        socket = await asyncio.to_thread(context.boards.socket_of, prefix, logdir)
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
    raise Unavailable("TensorBoard does not answer; try again.")


def _redirect(path: str, request: Request) -> Response:
    return RedirectResponse(_with_query(path, request), 307)


def _with_query(path: str, request: Request) -> str:
    return f"{path}?{request.url.query}" if request.url.query else path
