"""Sweeps: submit, check, list, look at, pause, resume, cancel."""

from __future__ import annotations

from typing import Annotated

import fastapi
from fastapi import APIRouter, Header, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

from toprung.serve.http import audit
from toprung.serve.http.access import Caller, OwnSweepId, Writer
from toprung.serve.http.answers import cacheable, items, record
from toprung.serve.http.context import Context, Services, SweepId, SweepRef
from toprung.serve.http.endpoints.documented import Query, content, problems
from toprung.serve.http.submission import SPEC_BODY, SentSpec, SpecText, checked_spec
from toprung.serve.queue import with_places
from toprung.tuning.plan import forecast, num_trials, priced
from toprung.tuning.records import BestTrial, Decision, Forecast, Page, Rung, Sweep, SweepState, Values, utc_now
from toprung.tuning.spec import dump_spec

router = APIRouter(tags=["sweeps"])

_YAML = "application/yaml"
_NOT_MODIFIED = {"description": "It is what the caller has (If-None-Match)."}
IdempotencyKey = Annotated[
    str | None,
    Header(pattern=r"^[ -~]{1,255}$", description="The same key and body again give the sweep of the first time."),
]


class SweepQuery(Query):
    """Filters of the listing."""

    state: SweepState | None = None
    name: str | None = None
    owner: str | None = None
    """Whose token submitted it."""
    text: str | None = Field(None, max_length=200)
    """What its name contains, in letters of any size."""
    cursor: str | None = None
    limit: int = Field(50, ge=1, le=1_000)


class BestQuery(Query):
    k: int = Field(5, ge=1, le=100)


class DecisionQuery(Query):
    number: int | None = Field(None, ge=0)
    """Of one trial only."""
    cursor: str | None = None
    limit: int = Field(1_000, ge=1, le=10_000)


class ValueQuery(Query):
    after: int = Field(0, ge=0)
    """The `last` of the answer before."""
    limit: int = Field(10_000, ge=1, le=100_000)


class BestTrials(BaseModel):
    items: list[BestTrial]


class Rungs(BaseModel):
    items: list[Rung]


@router.post(
    "/v1/sweeps",
    operation_id="submitSweep",
    status_code=201,
    response_model=Sweep,
    responses={
        200: {"model": Sweep, "description": "Sent before: the sweep of the first time"},
        **problems(400, 403, 409, 413, 415, 422),
    },
    openapi_extra=SPEC_BODY,
)
def submit_sweep(
    context: Context, caller: Writer, request: Request, sent: SentSpec, idempotency_key: IdempotencyKey = None
) -> Response:
    """Start a sweep. It is on disk when the answer comes."""
    return submitted(context, caller, request, sent, idempotency_key)


def submitted(
    context: Services, caller: Caller, request: Request, sent: SpecText, idempotency_key: str | None
) -> Response:
    """The answer to a spec that was sent, or made of another one: its sweep."""
    spec = checked_spec(sent, context)
    sweep, new = context.store.create_sweep(
        spec,
        name=spec.name,
        num_trials=num_trials(spec),
        owner=caller.owner,
        idempotency_key=idempotency_key,
        body_hash=sent.sha256,
    )
    audit.note_target(request.scope, sweep.id)
    return record(sweep, 201 if new else 200, {"Location": f"/v1/sweeps/{sweep.id}"})


@router.post(
    "/v1/sweeps:validate",
    operation_id="validateSweep",
    response_model=Forecast,
    responses=problems(400, 403, 413, 415, 422),
    openapi_extra=SPEC_BODY,
)
def validate_sweep(context: Context, sent: SentSpec) -> Response:
    """What a sweep would do and cost; nothing is started."""
    spec = checked_spec(sent, context)
    slots = None if context.slots is None else context.slots(spec.resources)
    known = context.store.step_time(spec.trainable)
    price = context.settings.price(spec.resources.accelerator_type)
    return record(priced(forecast(spec, slots), known, price, context.settings.currency))


@router.get(
    "/v1/sweeps",
    operation_id="listSweeps",
    response_model=Page[Sweep],
    responses={304: _NOT_MODIFIED, **problems(400)},
)
def list_sweeps(context: Context, request: Request, query: Annotated[SweepQuery, fastapi.Query()]) -> Response:
    """Sweeps, the newest first."""
    page = context.store.list_sweeps(
        state=query.state,
        name=query.name,
        owner=query.owner,
        text=query.text,
        cursor=query.cursor,
        limit=query.limit,
    )
    return cacheable(request, page.model_copy(update={"items": _placed(context, page.items)}))


@router.get(
    "/v1/sweeps/{sweep}",
    operation_id="getSweep",
    response_model=Sweep,
    responses={304: _NOT_MODIFIED, **problems(404)},
)
def get_sweep(context: Context, request: Request, sweep: SweepRef) -> Response:
    """One sweep and how it stands."""
    return cacheable(request, *_placed(context, [context.store.get_sweep(sweep)]))


@router.get(
    "/v1/sweeps/{sweep}/spec",
    operation_id="getSpec",
    response_class=Response,
    responses={200: content(_YAML, "The spec, without what it left to the service"), **problems(404)},
)
def get_spec(context: Context, sweep: SweepId) -> Response:
    """The spec of a sweep as a file to begin another one with."""
    return Response(dump_spec(context.store.get_sweep(sweep).spec), media_type=_YAML)


def _placed(context: Context, sweeps: list[Sweep]) -> list[Sweep]:
    """With their places in the queue, where they wait."""
    if all(sweep.state is not SweepState.QUEUED for sweep in sweeps):
        return sweeps
    unfinished = context.store.sweeps_in([SweepState.QUEUED, SweepState.RUNNING])
    return with_places(sweeps, unfinished, utc_now(), context.settings)


@router.post(
    "/v1/sweeps/{sweep}:cancel",
    operation_id="cancelSweep",
    status_code=202,
    response_model=Sweep,
    responses=problems(403, 404, 409),
)
def cancel_sweep(context: Context, sweep: OwnSweepId) -> Response:
    """End a sweep: a queued one at once, a running one as soon as its trials have stopped."""
    return record(context.store.request_cancel(sweep), 202)


@router.post(
    "/v1/sweeps/{sweep}:pause",
    operation_id="pauseSweep",
    status_code=202,
    response_model=Sweep,
    responses=problems(403, 404, 409),
)
def pause_sweep(context: Context, sweep: OwnSweepId) -> Response:
    """Pause a sweep: a queued one at once, a running one as soon as its trials have stopped. They keep checkpoints."""
    return record(context.store.request_pause(sweep), 202)


@router.post(
    "/v1/sweeps/{sweep}:resume",
    operation_id="resumeSweep",
    status_code=202,
    response_model=Sweep,
    responses=problems(403, 404, 409),
)
def resume_sweep(context: Context, sweep: OwnSweepId) -> Response:
    """Queue a paused sweep again: it goes on where it was."""
    return record(context.store.resume(sweep), 202)


@router.get(
    "/v1/sweeps/{sweep}/best", operation_id="listBestTrials", response_model=BestTrials, responses=problems(400, 404)
)
def list_best(context: Context, sweep: SweepId, query: Annotated[BestQuery, fastapi.Query()]) -> Response:
    """The best trials, and why they are."""
    return items(context.store.best_trials(sweep, query.k))


@router.get(
    "/v1/sweeps/{sweep}/decisions",
    operation_id="listDecisions",
    response_model=Page[Decision],
    responses=problems(400, 404),
)
def list_decisions(context: Context, sweep: SweepId, query: Annotated[DecisionQuery, fastapi.Query()]) -> Response:
    """What the scheduler decided, in order, and on what grounds."""
    page = context.store.list_decisions(sweep, number=query.number, cursor=query.cursor, limit=query.limit)
    return record(page)


@router.get(
    "/v1/sweeps/{sweep}/rungs",
    operation_id="listRungs",
    response_model=Rungs,
    responses=problems(404),
)
def list_rungs(context: Context, sweep: SweepId) -> Response:
    """How many trials were compared at each rung, went on from it and were stopped there."""
    return items(context.store.list_rungs(sweep))


@router.get(
    "/v1/sweeps/{sweep}/values",
    operation_id="listValues",
    response_model=Values,
    responses=problems(400, 404),
)
def list_values(context: Context, sweep: SweepId, query: Annotated[ValueQuery, fastapi.Query()]) -> Response:
    """What the trials reported of the objective, in the order in which it came: all curves, and then what is new."""
    found = context.store.get_sweep(sweep)
    return record(context.store.list_values(found, after=query.after, limit=query.limit))
