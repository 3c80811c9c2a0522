"""What every request passes on its way in and out: request id, origin checks, headers, metrics, the last catch.

Plain ASGI rather than the framework's middleware class, which would put a queue between a stream and its client.

Without access control the service listens on loopback alone. A web page that the user visits can still reach it
through the user's browser, so two doors are closed here: a foreign name that resolves to 127.0.0.1 (DNS rebinding)
shows in `Host`, a foreign page that posts to us in `Origin`. With access control the service has names that it can't
know, and no browser sends a token by itself: `Host` is free then.
"""

from __future__ import annotations

import ipaddress
import logging
import re
import time
import uuid
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from toprung.errors import InternalError
from toprung.serve.http.audit import AuditLog
from toprung.serve.http.metrics import Metrics
from toprung.serve.http.problems import error_response, problem_response, set_request_id

logger = logging.getLogger(__name__)

_SANE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


class Gate:
    """The outermost ASGI application of the service."""

    def __init__(self, app: ASGIApp, metrics: Metrics, audit: AuditLog, *, auth: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._audit = audit
        self._auth = auth

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        request_id = _request_id(headers)
        set_request_id(scope, request_id)
        started_at = time.perf_counter()
        answering = False

        async def send_on(message: Message) -> None:
            nonlocal answering
            if message["type"] == "http.response.start":
                answering = True
                out = MutableHeaders(scope=message)
                out["X-Request-Id"] = request_id
                out["X-Content-Type-Options"] = "nosniff"
                self._metrics.observe(scope, message["status"], time.perf_counter() - started_at)
                await self._audit.write(scope, message["status"])
            await send(message)

        try:
            await (_refusal(scope, headers, self._auth) or self._app)(scope, receive, send_on)
        except ClientDisconnect:
            logger.debug("%s: the client left", request_id)
        except Exception:
            logger.exception("request %s (%s %s) failed", request_id, scope["method"], scope["path"])
            if answering:
                raise  # the server breaks the connection: the client must not take half an answer for a whole one
            detail = f"The service failed to answer; its log says more under the request id {request_id}."
            await error_response(scope, InternalError(detail))(scope, receive, send_on)


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _SANE_ID.fullmatch(given) else f"req_{uuid.uuid4().hex}"


def _refusal(scope: Scope, headers: Headers, auth: bool) -> Response | None:
    host = headers.get("host", "")
    if not auth and not _is_loopback(host):
        detail = (
            f"This service answers only to localhost, 127.0.0.1 and [::1], not to {host[:200]!r}: it runs without "
            "access control. Start it with `toprung up --auth`, or use a tunnel: ssh -L 8000:127.0.0.1:8000 HOST."
        )
        return problem_response(scope, 421, "misdirected_request", detail)
    origin = headers.get("origin")
    if origin is None or scope["method"] in _SAFE_METHODS or _same_origin(origin, host):
        return None
    detail = f"A page of {origin[:200]!r} may not change anything here; only pages of http://{host} may."
    return problem_response(scope, 403, "cross_site", detail)


def _is_loopback(host: str) -> bool:
    try:
        parts = urlsplit(f"//{host}")
        name, _ = parts.hostname or "", parts.port
    except ValueError:  # not an address, or not a port
        return False
    if parts.netloc != host or "@" in host:
        return False
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _same_origin(origin: str, host: str) -> bool:
    scheme, _, rest = origin.partition("://")
    return scheme in ("http", "https") and rest.lower() == host.lower()
