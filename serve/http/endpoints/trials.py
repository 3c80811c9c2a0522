"""Trials: their standing, results, output and checkpoint."""

from __future__ import annotations

from typing import Annotated, Literal

import fastapi
from fastapi import APIRouter, Request
from pydantic import BaseModel, Field
from starlette.responses import Response, StreamingResponse

from toprung.errors import NotFound, Unavailable
from toprung.serve.http.answers import NDJSON, items, ndjson, record, wants_ndjson
from toprung.serve.http.archive import Archive
from toprung.serve.http.context import Context, SweepId, TrialNumber
from toprung.serve.http.endpoints.documented import Query, content, problems
from toprung.serve.http.streams import LiveStream, follow_log, log_so_far
from toprung.tuning.records import CheckpointRef, Page, Result, Trial, TrialEnvironment, TrialState

router = APIRouter(tags=["trials"])

_MAX_BYTES = 2**62
_TEXT = "text/plain; charset=utf-8"
_TAR = "application/x-tar"


class TrialQuery(Query):
    state: TrialState | None = None
    order_by: Literal["number", "value"] = "number"
    cursor: str | None = None
    limit: int = Field(100, ge=1, le=1_000)


class ResultQuery(Query):
    after_step: int = Field(0, ge=0)
    limit: int = Field(10_000, ge=1, le=10_000)


class LogQuery(Query):
    attempt: int | None = Field(None, ge=1)
    """The last one if none is given."""
    offset: int = Field(0, ge=0, le=_MAX_BYTES)
    """Bytes to leave out."""
    follow: bool = False
    """Go on until the attempt has ended."""


class Results(BaseModel):
    items: list[Result]


@router.get(
    "/v1/sweeps/{sweep}/trials", operation_id="listTrials", response_model=Page[Trial], responses=problems(400, 404)
)
def list_trials(context: Context, sweep: SweepId, query: Annotated[TrialQuery, fastapi.Query()]) -> Response:
    """Trials by number, or by value: the best first, those without one last."""
    page = context.store.list_trials(
        sweep, state=query.state, order_by=query.order_by, cursor=query.cursor, limit=query.limit
    )
    return record(page)


@router.get(
    "/v1/sweeps/{sweep}/trials/{number}",
    operation_id="getTrial",
    response_model=Trial,
    responses=problems(400, 404),
)
def get_trial(context: Context, sweep: SweepId, number: TrialNumber) -> Response:
    """One trial."""
    return record(context.store.get_trial(sweep, number))


@router.get(
    "/v1/sweeps/{sweep}/trials/{number}/results",
    operation_id="listResults",
    response_model=Results,
    responses={200: content(NDJSON, "JSON, or a line per result if NDJSON is accepted"), **problems(400, 404)},
)
def list_results(
    context: Context,
    request: Request,
    sweep: SweepId,
    number: TrialNumber,
    query: Annotated[ResultQuery, fastapi.Query()],
) -> Response:
    """What the trial reported, by step."""
    results = context.store.list_results(sweep, number, after_step=query.after_step, limit=query.limit)
    return ndjson(results) if wants_ndjson(request) else items(results)


@router.get(
    "/v1/sweeps/{sweep}/trials/{number}/environment",
    operation_id="getTrialEnvironment",
    response_model=TrialEnvironment,
    responses=problems(400, 404),
)
def get_environment(context: Context, sweep: SweepId, number: TrialNumber) -> Response:
    """With what seed the trial's last attempt ran, and in what surroundings."""
    return record(context.store.trial_environment(sweep, number))


@router.get(
    "/v1/sweeps/{sweep}/trials/{number}/logs",
    operation_id="readLog",
    response_class=Response,
    responses={200: content("text/plain", "What the attempt printed; X-Attempt says which"), **problems(400, 404)},
)
def read_log(
    context: Context, sweep: SweepId, number: TrialNumber, query: Annotated[LogQuery, fastapi.Query()]
) -> Response:
    """What an attempt printed, from a byte on; `follow` goes on until the attempt has ended."""
    trial = context.store.get_trial(sweep, number)
    newest = max(trial.attempt, 1)  # before the first there is nothing to read, but something to follow
    attempt = query.attempt or newest
    if attempt > newest:
        raise NotFound(f"Trial {number} has no attempt {attempt}; its last one is {newest}.")
    path = context.home.log(sweep, trial.number, attempt)
    headers = {"X-Attempt": str(attempt)}
    if query.follow:
        return LiveStream(follow_log(context.store, path, query.offset, trial, attempt), _TEXT, headers=headers)
    return StreamingResponse(log_so_far(path, query.offset), headers=headers, media_type=_TEXT)


@router.get(
    "/v1/sweeps/{sweep}/trials/{number}/checkpoint",
    operation_id="downloadCheckpoint",
    response_class=Response,
    responses={200: content(_TAR, "The checkpoint's folder as a tar", format="binary"), **problems(400, 404, 409)},
)
def download_checkpoint(context: Context, sweep: SweepId, number: TrialNumber) -> Response:
    """The best checkpoint that is kept; of a trial that runs, its best so far."""
    missing: CheckpointRef | None = None
    while True:
        checkpoint = context.store.get_trial(sweep, number).checkpoint
        if checkpoint is None:
            raise NotFound(f"No checkpoint of trial {number} is kept; those of the best trials are.")
        try:
            archive = Archive(context.home.storage.checkpoint(checkpoint.path), checkpoint.size_bytes)
            break
        except OSError as error:
            raise Unavailable(f"The storage of checkpoints does not answer: {error}") from error
        except NotFound:
            if checkpoint == missing:
                raise
            missing = checkpoint  # a better one may just have taken its place
    headers = {
        "Content-Length": str(archive.size_bytes),
        "Content-Disposition": f'attachment; filename="{sweep}-{number}-{checkpoint.step}.tar"',
    }
    return StreamingResponse(iter(archive), headers=headers, media_type=_TAR)
