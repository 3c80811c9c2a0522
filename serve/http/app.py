"""The HTTP application, without the cluster it runs on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from toprung import __version__
from toprung.serve.home import Home
from toprung.serve.http import board, login, page, problems, studies
from toprung.serve.http.access import AUTHENTICATED
from toprung.serve.http.audit import AuditLog
from toprung.serve.http.columns import ColumnCache
from toprung.serve.http.context import Cluster, Services, Slots
from toprung.serve.http.endpoints import cluster as machines
from toprung.serve.http.endpoints import (
    edits,
    events,
    figures,
    meta,
    packages,
    retention,
    sweeps,
    tokens,
    trials,
    webhooks,
)
from toprung.serve.http.feed import Feed
from toprung.serve.http.gallery import Gallery
from toprung.serve.http.gate import Gate
from toprung.serve.http.metrics import Metrics
from toprung.serve.http.packages import PackageStore
from toprung.serve.http.sessions import Sessions
from toprung.serve.settings import Settings
from toprung.serve.store import Store
from toprung.serve.tracking.live import LiveBoards

_ROUTERS = (
    sweeps.router,
    edits.router,
    trials.router,
    figures.router,
    events.router,
    packages.router,
    retention.router,
    tokens.router,
    webhooks.router,
    machines.router,
    meta.router,
)
_REF = "#/components/schemas/{model}"


def create_app(
    store: Store, home: Path, *, slots: Slots | None = None, cluster: Cluster | None = None, auth: bool = False
) -> FastAPI:
    """The application over a store; the caller closes the store, and ends what it started (`close`).

    Args:
        store: where sweeps are kept.
        home: the service's home, made if it isn't there.
        slots: how many trials of some resources fit the cluster at once; for forecasts.
        cluster: that it runs on.
        auth: whether requests need a token; without it only loopback may reach the application.
    """
    place = Home.at(home)
    metrics = Metrics(store)
    app = FastAPI(
        title="Toprung",
        version=__version__,
        docs_url=None,  # they would load scripts from another host
        redoc_url=None,
        redirect_slashes=False,
    )
    uploads = PackageStore(place.path / "packages")
    columns = ColumnCache(store)
    app.state.services = Services(
        store,
        place,
        uploads,
        Feed(store, on_news=metrics.observe_events),
        metrics,
        slots,
        Settings.read(place.settings_file),
        auth,
        Sessions(),
        LiveBoards(place.nowhere),
        cluster,
        columns,
        Gallery(store, columns),
    )
    app.include_router(meta.probes)
    app.include_router(board.router)  # asks for a token itself: a browser is led to the login
    app.include_router(studies.router)  # so does this
    app.include_router(login.router)
    app.include_router(page.router)
    for router in _ROUTERS:
        app.include_router(router, dependencies=[AUTHENTICATED])
    routes = [
        route
        for router in (meta.probes, board.router, studies.router, login.router, page.router, *_ROUTERS)
        for route in router.routes
        if isinstance(route, APIRoute)
    ]
    app.state.routes = [(route.path_regex, route.methods) for route in routes]
    problems.install(app)
    app.add_middleware(Gate, metrics=metrics, audit=AuditLog(place.audit_file), auth=auth)
    document: dict[str, Any] = {}

    def openapi() -> dict[str, Any]:
        if not document:
            document.update(_openapi(app))
        return document

    app.openapi = openapi  # type: ignore[method-assign]  # the framework's own way to change the document
    return app


def close(app: FastAPI) -> None:
    """Ends what an application started."""
    services: Services = app.state.services
    services.boards.close()
    services.gallery.close()


def _openapi(app: FastAPI) -> dict[str, Any]:
    """The framework's document with our errors in the place of its own."""
    document = get_openapi(title=app.title, version=app.version, routes=app.routes)
    for path in document["paths"].values():
        for operation in path.values():
            unwanted = operation["responses"].get("422", {})
            if "HTTPValidationError" in str(unwanted):
                del operation["responses"]["422"]
    schemas = document["components"]["schemas"]
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    schema = problems.ProblemDocument.model_json_schema(ref_template=_REF)
    schemas.update(schema.pop("$defs"), ProblemDocument=schema)
    return document
