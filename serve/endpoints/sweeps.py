"""Sweeps: submit, validate, list, show, cancel, best, decisions."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from toprung.errors import InvalidSpec, Malformed, Problem, UnsupportedMedia
from toprung.serve.problems import RESPONSES
from toprung.serve.requests import Cursor, Limit, Parts, PartsDep, bounded, tagged
from toprung.tuning.plan import forecast, num_trials
from toprung.tuning.records import BestTrial, Decision, Forecast, Page, Sweep, SweepState
from toprung.tuning.spec import SweepSpec, json_schema, parse_spec
from toprung.tuning.spec.reading import MAX_BYTES

router = APIRouter(prefix="/v1", tags=["sweeps"], responses=RESPONSES)

SweepName = Annotated[str, Path(description="The sweep's id, or its name: the newest of that name.")]

_MEDIA = (
    "application/yaml",
    "application/x-yaml",
    "text/yaml",
    "text/x-yaml",
    "application/json",
    "text/plain",
    # what curl --data-binary says when it is not told otherwise
    "application/x-www-form-urlencoded",
)
_SPEC_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/yaml": {"schema": {"type": "string"}},
            "application/json": {"schema": {"$ref": "/v1/schema"}},
        },
    }
}


class BestTrials(BaseModel):
    """The best trials, best first."""

    items: list[BestTrial]


@router.post(
    "/sweeps", operation_id="submit_sweep", response_model=Sweep, status_code=201, openapi_extra=_SPEC_BODY
)
async def submit(
    request: Request,
    response: Response,
    parts: PartsDep,
    idempotency_key: Annotated[
        str | None, Header(description="The same key again gives the same sweep again, not a second one.")
    ] = None,
) -> Sweep:
    """Submits a sweep. When this answers 201, the sweep is on disk."""
    if idempotency_key is not None and not (1 <= len(idempotency_key) <= 255 and idempotency_key.isprintable()):
        raise Malformed("Idempotency-Key must be 1 to 255 printable characters")
    body = await _body(request)
    spec = await run_in_threadpool(parse_spec, body)
    _check_code(spec, parts)
    sweep, new = await run_in_threadpool(
        parts.store.create_sweep,
        spec,
        name=spec.name,
        num_trials=num_trials(spec),
        idempotency_key=idempotency_key,
        body_hash=hashlib.sha256(body.encode()).hexdigest(),
    )
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/sweeps/{sweep.id}"
    return sweep


@router.post(
    "/sweeps:validate", operation_id="validate_sweep", response_model=Forecast, openapi_extra=_SPEC_BODY
)
async def validate(request: Request, parts: PartsDep) -> Forecast:
    """Checks a spec and says what it would cost; nothing is submitted."""
    spec = await run_in_threadpool(parse_spec, await _body(request))
    slots = await run_in_threadpool(parts.slots, spec.resources) if parts.slots else None
    return forecast(spec, slots)


@router.get("/sweeps", operation_id="list_sweeps", response_model=Page[Sweep])
def list_sweeps(
    request: Request,
    parts: PartsDep,
    state: SweepState | None = None,
    name: str | None = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Response:
    """Sweeps, newest first."""
    return tagged(request, parts.store.list_sweeps(state=state, name=name, cursor=cursor, limit=limit))


@router.get("/sweeps/{sweep}", operation_id="get_sweep", response_model=Sweep)
def get_sweep(request: Request, parts: PartsDep, sweep: SweepName) -> Response:
    """One sweep."""
    return tagged(request, parts.store.get_sweep(sweep))


@router.post("/sweeps/{sweep}:cancel", operation_id="cancel_sweep", response_model=Sweep, status_code=202)
def cancel(parts: PartsDep, sweep: SweepName) -> Sweep:
    """Ends a sweep; what its trials reported is kept. 409 when it has ended already."""
    return parts.store.request_cancel(parts.store.get_sweep(sweep).id)


@router.get("/sweeps/{sweep}/best", operation_id="best_trials", response_model=BestTrials)
def best(parts: PartsDep, sweep: SweepName, k: Annotated[int, Query(ge=1, le=100)] = 5) -> BestTrials:
    """The best trials, and why they are."""
    return BestTrials(items=parts.store.best_trials(parts.store.get_sweep(sweep).id, k))


@router.get("/sweeps/{sweep}/decisions", operation_id="list_decisions", response_model=Page[Decision])
def decisions(
    parts: PartsDep,
    sweep: SweepName,
    number: Annotated[int | None, Query(ge=0, le=2**31, description="Of this trial alone.")] = None,
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[Decision]:
    """What the scheduler decided, in order: rung, value, cutoff, rank."""
    record = parts.store.get_sweep(sweep)
    return parts.store.list_decisions(record.id, number=number, cursor=cursor, limit=limit)


@router.get("/schema", operation_id="spec_schema", tags=["service"])
def schema() -> dict[str, object]:
    """The JSON Schema of a spec, for editors."""
    return json_schema()


async def _body(request: Request) -> str:
    media = request.headers.get("content-type", "application/yaml").partition(";")[0].strip().lower()
    if media not in _MEDIA:
        raise UnsupportedMedia(f"a spec comes as application/yaml or application/json, not as {media[:80]}")
    remedy = "large data belongs in a file that the trainable reads"
    data = b"".join([chunk async for chunk in bounded(request, MAX_BYTES, remedy)])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Malformed(f"the spec is not UTF-8: {error}") from error


def _check_code(spec: SweepSpec, parts: Parts) -> None:
    """A submission's code is an uploaded package: a folder is on the client's machine, not here."""
    if spec.code is None:
        return
    kind, _, sha256 = spec.code.partition(":")
    if kind != "sha256":
        hint = "upload it with PUT /v1/packages/{sha256} and give code: sha256:…; the client and `toprung submit` do that"
        problem = Problem("/code", "not_uploaded", f"{spec.code} is a folder on your machine", hint)
    else:
        try:
            if parts.packages.has(sha256):
                return
            problem = Problem("/code", "not_uploaded", "this package is not here", f"PUT /v1/packages/{sha256}")
        except Malformed as error:
            problem = Problem("/code", "invalid_value", error.detail)
    raise InvalidSpec("the spec has 1 problem", problems=[problem])
