"""Changing sweeps that are there: edit, extend, clone; trials that are asked for, tried again, stopped."""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Header, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from toprung.errors import InvalidSpec, Malformed, PreconditionRequired, Problem
from toprung.serve.http.access import Caller, OwnSweepId, Writer
from toprung.serve.http.answers import JSON, etag_of, record
from toprung.serve.http.bodies import check_media_type, limited, read_json
from toprung.serve.http.context import Context, SweepId, TrialNumber
from toprung.serve.http.endpoints.documented import problems
from toprung.serve.http.endpoints.sweeps import IdempotencyKey, submitted
from toprung.serve.http.reproduction import repetition
from toprung.serve.http.submission import MAX_SPEC_BYTES, SpecText, price_problems
from toprung.tuning.records import Sweep, Trial
from toprung.tuning.spec import Git
from toprung.tuning.spec.edit import edited, merged

router = APIRouter(tags=["sweeps"])

_PATCH_TYPES = ("application/merge-patch+json", "application/json")
_PATCH_BODY = {
    "requestBody": {
        "required": True,
        "description": "A JSON merge patch (RFC 7396) of the sweep's spec",
        "content": {media_type: {"schema": {"type": "object"}} for media_type in _PATCH_TYPES},
    }
}
_TAG = re.compile(r'"r([0-9]{1,9})-[0-9a-f]{32}"')


class Body(BaseModel):
    """A JSON body; a misspelt field is an error rather than ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Extension(Body):
    budget: dict[str, Any]
    """The bounds to change, as they are to be; null takes one away."""


class TrialWanted(Body):
    config: dict[str, Any]
    """Nested as `parameters`; what it leaves out is drawn at random."""


class Retry(Body):
    trials: list[int] = Field(default_factory=list, max_length=10_000)
    """Their numbers; none: all failed ones that were not tried again yet."""
    code: str | None = Field(None, pattern=r"^sha256:[0-9a-f]{64}$")
    """`sha256:…` of an uploaded package that the sweep has from now on."""
    git: Git | None = None
    """Where the code stood in Git."""


B = TypeVar("B", bound=Body)


def _body(kind: type[B]) -> Callable[[Request, Caller], Awaitable[B]]:
    """Reads a body, once the caller is known to be one."""

    async def read(request: Request, caller: Writer) -> B:
        return await read_json(request, kind, "A request")

    return read


def _documented(kind: type[Body]) -> dict[str, Any]:
    return {"requestBody": {"required": True, "content": {JSON: {"schema": kind.model_json_schema()}}}}


async def _patch(request: Request, caller: Writer) -> dict[str, Any]:
    check_media_type(request, _PATCH_TYPES, "a change of a sweep")
    data = b"".join([chunk async for chunk in limited(request, MAX_SPEC_BYTES, "A change of a sweep")])
    try:
        patch = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"The change is not JSON: {error}.") from None
    if not isinstance(patch, dict):
        raise Malformed('A change is a JSON object of the fields to change, such as {"concurrency": 8}.')
    return patch


Patch = Annotated[dict[str, Any], Depends(_patch)]
IfMatch = Annotated[str | None, Header(description="The ETag with which the sweep was read, or *.")]


@router.patch(
    "/v1/sweeps/{sweep}",
    operation_id="editSweep",
    response_model=Sweep,
    responses=problems(403, 404, 409, 412, 415, 422, 428),
    openapi_extra=_PATCH_BODY,
)
def edit_sweep(context: Context, sweep: OwnSweepId, patch: Patch, if_match: IfMatch = None) -> Response:
    """Change budget, concurrency, priority or weight of a sweep that has not ended; a running one adapts."""
    _check_price(context, sweep, patch.get("budget"))
    return _answer(context.store.edits.edit(sweep, patch, revisions=_revisions(if_match)))


@router.post(
    "/v1/sweeps/{sweep}:extend",
    operation_id="extendSweep",
    status_code=202,
    response_model=Sweep,
    responses=problems(400, 403, 404, 413, 415, 422),
    openapi_extra=_documented(Extension),
)
def extend_sweep(
    context: Context, sweep: OwnSweepId, extension: Annotated[Extension, Depends(_body(Extension))]
) -> Response:
    """Give a sweep a larger budget; one that has ended is queued again, and goes on with all that it knows."""
    _check_price(context, sweep, extension.budget)
    return _answer(context.store.edits.extend(sweep, extension.budget), 202)


@router.post(
    "/v1/sweeps/{sweep}:enqueue",
    operation_id="enqueueTrial",
    status_code=202,
    response_model=Sweep,
    responses=problems(400, 403, 404, 409, 413, 415, 422),
    openapi_extra=_documented(TrialWanted),
)
def enqueue_trial(
    context: Context,
    sweep: OwnSweepId,
    wanted: Annotated[TrialWanted, Depends(_body(TrialWanted))],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Ask for a trial of a configuration made by hand, on top of the budget; a sweep that has ended goes on."""
    return _answer(context.store.edits.request_trial(sweep, wanted.config, idempotency_key=idempotency_key), 202)


@router.post(
    "/v1/sweeps/{sweep}:retry",
    operation_id="retryTrials",
    status_code=202,
    response_model=Sweep,
    responses=problems(400, 403, 404, 409, 413, 415, 422),
    openapi_extra=_documented(Retry),
)
def retry_trials(
    context: Context,
    sweep: OwnSweepId,
    retry: Annotated[Retry, Depends(_body(Retry))],
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Try failed configurations again, as further trials on top of the budget; a sweep that has ended goes on."""
    if retry.code is not None and context.packages.find(retry.code.removeprefix("sha256:")) is None:
        problem = Problem("/code", "missing_package", f"no package {retry.code[:80]} has been uploaded")
        raise InvalidSpec("the code is not there", problems=[problem])
    found = context.store.edits.retry(
        sweep, retry.trials or None, code=retry.code, git=retry.git, idempotency_key=idempotency_key
    )
    return _answer(found, 202)


@router.post(
    "/v1/sweeps/{sweep}:clone",
    operation_id="cloneSweep",
    status_code=201,
    response_model=Sweep,
    responses=problems(403, 404, 409, 413, 415, 422),
    openapi_extra=_PATCH_BODY,
)
def clone_sweep(
    context: Context,
    caller: Writer,
    request: Request,
    sweep: SweepId,
    patch: Patch,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Submit the spec of a sweep again, with changes; the new one knows nothing of the old."""
    data = merged(context.store.get_sweep(sweep).spec.model_dump(mode="json"), patch)
    sent = SpecText(json.dumps(data), f"{sweep}/{json.dumps(patch, sort_keys=True)}")
    return submitted(context, caller, request, sent, idempotency_key)


@router.post(
    "/v1/sweeps/{sweep}/trials/{number}:stop",
    operation_id="stopTrial",
    status_code=202,
    response_model=Trial,
    responses=problems(403, 404, 409),
    tags=["trials"],
)
def stop_trial(context: Context, sweep: OwnSweepId, number: TrialNumber) -> Response:
    """Cancel one trial; a running one ends a little later, with its results and best checkpoint kept."""
    return record(context.store.edits.stop_trial(sweep, number), 202)


@router.post(
    "/v1/sweeps/{sweep}/trials/{number}:retry",
    operation_id="retryTrial",
    status_code=202,
    response_model=Sweep,
    responses=problems(403, 404, 409),
    tags=["trials"],
)
def retry_trial(
    context: Context, sweep: OwnSweepId, number: TrialNumber, idempotency_key: IdempotencyKey = None
) -> Response:
    """Try the configuration of an ended trial again, as a further trial on top of the budget."""
    return _answer(context.store.edits.retry(sweep, [number], idempotency_key=idempotency_key), 202)


@router.post(
    "/v1/sweeps/{sweep}/trials/{number}:reproduce",
    operation_id="reproduceTrial",
    status_code=201,
    response_model=Sweep,
    responses=problems(403, 404, 409),
    tags=["trials"],
)
def reproduce_trial(
    context: Context,
    caller: Writer,
    request: Request,
    sweep: SweepId,
    number: TrialNumber,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Run an ended trial again, with its configuration, seed and code, as the only trial of another sweep."""
    spec = repetition(context, sweep, number)
    sent = SpecText(json.dumps(spec.model_dump(mode="json")), f"{sweep}/{number}:reproduce")
    return submitted(context, caller, request, sent, idempotency_key)


def _check_price(context: Context, sweep_id: str, budget: Any) -> None:
    if not isinstance(budget, dict) or budget.get("cost") is None:
        return
    problems = price_problems(edited(context.store.get_sweep(sweep_id).spec, {"budget": budget}), context.settings)
    if problems:
        raise InvalidSpec("the budget can't be kept to", problems=problems)


def _answer(sweep: Sweep, status: int = 200) -> Response:
    return record(sweep, status, {"ETag": etag_of(sweep)})


def _revisions(if_match: str | None) -> set[int] | None:
    """The revisions that the caller has seen; None where any will do.

    Only the revision of a tag counts: that a running sweep has new results is no reason to refuse an edit.

    Raises:
        PreconditionRequired: there is no If-Match.
    """
    if if_match is None:
        raise PreconditionRequired(
            "Send the ETag with which you read the sweep as If-Match, so that nobody's change is overwritten unseen; "
            "If-Match: * overwrites."
        )
    if if_match.strip() == "*":
        return None
    return {int(match[1]) for tag in if_match.split(",") if (match := _TAG.fullmatch(tag.strip()))}
