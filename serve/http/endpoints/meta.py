"""The service itself: what it is, and whether it is well."""

from __future__ import annotations

import json
import tempfile
from importlib.metadata import version as installed_version
from typing import Annotated, Any, Literal

import fastapi
from fastapi import APIRouter
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import AwareDatetime, BaseModel
from starlette.responses import Response

from toprung import __version__
from toprung.errors import Unavailable
from toprung.serve.http.answers import JSON, record
from toprung.serve.http.context import Context
from toprung.serve.http.endpoints.documented import Query, content, problems
from toprung.tuning.records import UsageReport
from toprung.tuning.spec import json_schema

router = APIRouter(tags=["service"])
probes = APIRouter(tags=["service"])
"""Open to all: who asks them has no token, and they tell nothing."""


class Version(BaseModel):
    version: str
    ray: str


class Health(BaseModel):
    status: Literal["ok"] = "ok"


@router.get("/v1/schema", operation_id="getSchema", response_model=dict[str, Any], responses=problems())
def get_schema() -> Response:
    """The JSON Schema of a spec."""
    return Response(json.dumps(json_schema(), ensure_ascii=False), media_type=JSON)


@router.get("/v1/version", operation_id="getVersion", response_model=Version, responses=problems())
def get_version() -> Response:
    """Versions of the service and its Ray."""
    return record(Version(version=__version__, ray=installed_version("ray")))


class Period(Query):
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


@router.get("/v1/usage", operation_id="getUsage", response_model=UsageReport, responses=problems(400))
def get_usage(context: Context, query: Annotated[Period, fastapi.Query()]) -> Response:
    """What the sweeps that were started in a period have used so far, by owner."""
    return record(UsageReport(items=context.store.usage(query.since, query.until), currency=context.settings.currency))


@probes.get("/healthz", operation_id="getHealth", response_model=Health, responses=problems())
async def get_health() -> Response:
    """Whether the process is up."""
    return record(Health())


@probes.get("/readyz", operation_id="getReadiness", response_model=Health, responses=problems(503))
def get_readiness(context: Context) -> Response:
    """Whether the service can take sweeps: its store answers, its home can be written."""
    context.store.ping()
    try:
        with tempfile.TemporaryFile(dir=context.home.path):
            pass
    except OSError as error:
        raise Unavailable(f"{context.home.path} cannot be written: {error.strerror}.") from error
    return record(Health())


@router.get(
    "/metrics",
    operation_id="getMetrics",
    response_class=Response,
    responses={200: content("text/plain", "Prometheus' text format"), **problems(503)},
)
def get_metrics(context: Context) -> Response:
    """Figures for Prometheus."""
    return Response(context.metrics.render(), media_type=CONTENT_TYPE_LATEST)
