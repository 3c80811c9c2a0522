"""The service itself: version, probes, metrics."""

from __future__ import annotations

import os
from importlib.metadata import version as version_of

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.responses import Response

import toprung
from toprung.errors import Unavailable
from toprung.serve.problems import RESPONSES
from toprung.serve.requests import PartsDep

router = APIRouter(tags=["service"], responses=RESPONSES)


@router.get("/v1/version", operation_id="version")
def version() -> dict[str, str]:
    """Versions of the service and of what it runs on."""
    return {"version": toprung.__version__, **{name: version_of(name) for name in ("ray", "optuna", "torch")}}


@router.get("/healthz", operation_id="healthz")
def healthz() -> dict[str, str]:
    """The process is up."""
    return {"status": "ok"}


@router.get("/readyz", operation_id="readyz")
def readyz(parts: PartsDep) -> dict[str, str]:
    """The service can take a sweep: the store answers, the disk can be written. 503 otherwise."""
    parts.store.ping()
    if not os.access(parts.home.path, os.W_OK):
        raise Unavailable(f"{parts.home.path} cannot be written")
    return {"status": "ready"}


@router.get("/metrics", operation_id="metrics", response_class=Response)
def metrics(request: Request) -> Response:
    """Prometheus metrics."""
    return Response(generate_latest(request.app.state.metrics.registry), media_type=CONTENT_TYPE_LATEST)
