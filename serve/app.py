"""The HTTP application. It imports no Ray: Ray Serve runs it, and so does any ASGI server in a test."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import Response

import toprung
from toprung.serve import problems
from toprung.serve.endpoints import events, packages, service, sweeps, trials
from toprung.serve.home import Home
from toprung.serve.metrics import Metrics
from toprung.serve.packages import Packages
from toprung.serve.requests import Parts, Slots
from toprung.serve.store import Store
from toprung.serve.stream import Broadcaster

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._-]{1,64}$")
_LOOPBACK = {"localhost", "127.0.0.1", "::1"}


def create_app(store: Store, home: Path, *, slots: Slots | None = None) -> FastAPI:
    """The application over a store.

    Args:
        store: the truth.
        home: the service's folder, for packages, logs and checkpoints.
        slots: says how many trials fit on the cluster; None where no cluster is asked.
    """
    place = Home.at(home)
    app = FastAPI(title="Toprung", version=toprung.__version__, docs_url=None, redoc_url=None)
    app.state.parts = Parts(store, place, Packages(place), Broadcaster(store), slots)
    app.state.metrics = Metrics(store)
    for module in (sweeps, trials, events, packages, service):
        app.include_router(module.router)
    problems.install(app)
    # the last one added is the outermost
    app.middleware("http")(problems.catch_all)
    app.middleware("http")(app.state.metrics.measure)
    app.middleware("http")(_only_loopback)
    app.middleware("http")(_identify)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign]
    return app


async def _identify(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Gives each request an id: the caller's, if it is a sane token."""
    given = request.headers.get("x-request-id", "")
    request.state.request_id = given if _REQUEST_ID.match(given) else f"req_{secrets.token_hex(8)}"
    response = await call_next(request)
    response.headers["X-Request-Id"] = request.state.request_id
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


async def _only_loopback(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Refuses what a web page in the user's browser could send.

    There is no access control yet, so the service listens on loopback; a page of any site can reach that too, by a
    name that it lets point at 127.0.0.1 (DNS rebinding), or by a plain cross-site request.
    """
    refused = None
    if _host(f"//{request.headers.get('host', '')}") not in _LOOPBACK:
        refused = f"this service answers to localhost only, not to {request.headers.get('host', '')[:100]!r}"
    elif "origin" in request.headers and _host(request.headers["origin"]) not in _LOOPBACK:
        refused = f"requests from pages of {request.headers['origin'][:100]} are refused"
    if refused is not None:
        return problems.problem_response(request, status=403, code="forbidden", detail=refused)
    return await call_next(request)


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        schema = get_openapi(
            title=app.title,
            version=app.version,
            routes=app.routes,
            description="Hyperparameter sweeps on a Ray cluster.",
        )
        documents = problems.ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        components = schema.setdefault("components", {}).setdefault("schemas", {})
        components.update(documents.pop("$defs", {}))
        components["ProblemDocument"] = documents
        app.openapi_schema = schema
    return app.openapi_schema
