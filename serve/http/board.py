"""TensorBoard under `/tensorboard/`, for those who may read.

`/tensorboard/` shows all sweeps, `/tensorboard/<sweep's id>/` one. A browser can't be made to send a token with each
picture of a page: it gets a form for the token instead, and then a cookie (`sessions.py`) that opens these pages and
no others. What TensorBoard is asked changes nothing, also where it is a POST.
"""

from __future__ import annotations

import asyncio
import html
import re
from pathlib import Path
from urllib.parse import parse_qs, quote

import httpx
from fastapi import APIRouter, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from toprung.errors import NotFound, Unauthorized, Unavailable
from toprung.serve.http.access import Credentials, caller_of
from toprung.serve.http.bodies import limited
from toprung.serve.http.context import Context, Services
from toprung.serve.http.sessions import SESSION_S
from toprung.serve.tracking.sink import folder_name

router = APIRouter(include_in_schema=False)

ROOT = "/tensorboard"
COOKIE = "toprung_tensorboard"
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


@router.post(f"{ROOT}/session")
async def begin_session(request: Request, context: Context) -> Response:
    """Takes the form's token, and answers with a cookie."""
    form = parse_qs(b"".join([chunk async for chunk in limited(request, _MAX_BYTES, "The form")]).decode("latin-1"))
    page = request.query_params.get("page", "")
    if not page.startswith(f"{ROOT}/"):
        page = f"{ROOT}/"
    token = await asyncio.to_thread(context.store.find_token, form.get("token", [""])[0].strip())
    if token is None or token.revoked_at is not None:
        return _form(page, "This token is none of the service's, or was revoked.")
    answer = RedirectResponse(page, 303, {"Cache-Control": "no-store"})
    answer.set_cookie(
        COOKIE,
        context.sessions.begin(token.id),
        max_age=SESSION_S,
        path=ROOT,
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="lax",
    )
    return answer


@router.api_route(f"{ROOT}/{{path:path}}", methods=["GET", "HEAD", "POST"])
async def show(request: Request, context: Context, credentials: Credentials, path: str) -> Response:
    """A page of TensorBoard's, or what it asks for.

    Raises:
        Unauthorized: no token came with the request, and no session.
        NotFound: there is no such sweep, or it has nothing for TensorBoard.
        Unavailable: TensorBoard does not start, or does not answer.
    """
    try:
        if credentials is not None or not await _has_session(request, context):
            await caller_of(context, credentials)
    except Unauthorized:
        if credentials is None and request.method == "GET" and "text/html" in request.headers.get("accept", ""):
            return _form(_with_query(request.url.path, request))
        raise
    prefix, logdir = ROOT, context.home.tensorboard
    if sweep := _SWEEP.fullmatch(path):
        prefix = f"{ROOT}/{sweep[1]}"
        logdir = await asyncio.to_thread(_folder, context, sweep[1])
        if not sweep[2]:
            return _redirect(f"{prefix}/", request)
    return await _ask(request, context, prefix, logdir)


async def _has_session(request: Request, context: Services) -> bool:
    token_id = context.sessions.token_id(request.cookies.get(COOKIE, ""))
    if token_id is None:
        return False
    token = await asyncio.to_thread(context.store.get_token, token_id)
    return token is not None and token.revoked_at is None


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


_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>TensorBoard of Toprung</title>
<style>body {{ font: 16px/1.5 sans-serif; max-width: 32em; margin: 15vh auto; padding: 0 1em }}
input {{ width: 100%; box-sizing: border-box; font: inherit; padding: .4em; margin: .5em 0 }}
button {{ font: inherit; padding: .4em 1.2em }} [role=alert] {{ color: #b00020 }}</style>
<h1>TensorBoard</h1>
<p>This service asks for a token. An admin makes one with <code>toprung token create</code>; that of the user who
started the service is in its folder, in the file <code>token</code>.</p>
{said}
<form method="post" action="{action}">
<label>Token <input name="token" type="password" autocomplete="off" autofocus required></label>
<button>Show</button>
</form>
</html>
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"


def _form(page: str, said: str = "") -> Response:
    """Asks for a token; the answer to it leads to `page`."""
    action = html.escape(f"{ROOT}/session?page={quote(page, safe='')}")
    alert = f'<p role="alert">{html.escape(said)}</p>' if said else ""
    headers = {"WWW-Authenticate": "Bearer", "Cache-Control": "no-store", "Content-Security-Policy": _POLICY}
    return HTMLResponse(_PAGE.format(said=alert, action=action), 401, headers)
