"""Trials: list, show, results, logs, checkpoint."""

from __future__ import annotations

import asyncio
import os
import tarfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query
from fastapi import Path as UrlPath
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from toprung.errors import NotFound
from toprung.serve.endpoints.sweeps import SweepName
from toprung.serve.problems import RESPONSES
from toprung.serve.requests import Cursor, Limit, Parts, PartsDep
from toprung.tuning.records import Page, Result, Trial, TrialState

router = APIRouter(prefix="/v1/sweeps/{sweep}/trials", tags=["trials"], responses=RESPONSES)

Number = Annotated[int, UrlPath(ge=0, le=2**31, description="The trial's number in its sweep.")]

_POLL_S = 0.3
_CHUNK = 64 * 1024


class Results(BaseModel):
    """Results of a trial, by step."""

    items: list[Result]


@router.get("", operation_id="list_trials", response_model=Page[Trial])
def list_trials(
    parts: PartsDep,
    sweep: SweepName,
    state: TrialState | None = None,
    order_by: Annotated[Literal["number", "value"], Query(description="value: best first")] = "number",
    cursor: Cursor = None,
    limit: Limit = 100,
) -> Page[Trial]:
    """The trials of a sweep."""
    record = parts.store.get_sweep(sweep)
    return parts.store.list_trials(record.id, state=state, order_by=order_by, cursor=cursor, limit=limit)


@router.get("/{number}", operation_id="get_trial", response_model=Trial)
def get_trial(parts: PartsDep, sweep: SweepName, number: Number) -> Trial:
    """One trial."""
    return parts.store.get_trial(parts.store.get_sweep(sweep).id, number)


@router.get(
    "/{number}/results",
    operation_id="list_results",
    response_model=Results,
    responses={200: {"content": {"application/x-ndjson": {"schema": {"type": "string"}}}}},
)
def results(
    parts: PartsDep,
    sweep: SweepName,
    number: Number,
    after_step: Annotated[int, Query(ge=0, le=2**62)] = 0,
    limit: Annotated[int, Query(ge=1, le=100_000)] = 10_000,
    accept: Annotated[str, Header()] = "application/json",
) -> Response:
    """The metrics of each step; one JSON object per line with `Accept: application/x-ndjson`."""
    trial = get_trial(parts, sweep, number)
    items = parts.store.list_results(trial.sweep_id, number, after_step=after_step, limit=limit)
    if "application/x-ndjson" in accept:
        return Response("".join(f"{item.model_dump_json()}\n" for item in items), media_type="application/x-ndjson")
    return Response(Results(items=items).model_dump_json(), media_type="application/json")


@router.get("/{number}/logs", operation_id="trial_logs", response_class=StreamingResponse)
async def logs(
    parts: PartsDep,
    sweep: SweepName,
    number: Number,
    attempt: Annotated[int | None, Query(ge=1, le=2**31, description="The last one when left out.")] = None,
    offset: Annotated[int, Query(ge=0, le=2**62, description="In bytes.")] = 0,
    follow: Annotated[bool, Query(description="Go on until the attempt has ended.")] = False,
) -> StreamingResponse:
    """What a trial printed: text."""
    trial = await run_in_threadpool(get_trial, parts, sweep, number)
    wanted = attempt or max(trial.attempt, 1)
    if wanted > max(trial.attempt, 1):
        raise NotFound(f"trial {number} has no attempt {wanted}; its last is {trial.attempt}")
    return StreamingResponse(
        _log(parts, trial, wanted, offset, follow),
        media_type="text/plain; charset=utf-8",
        headers={"X-Attempt": str(wanted), "Cache-Control": "no-cache"},
    )


async def _log(parts: Parts, trial: Trial, attempt: int, offset: int, follow: bool) -> AsyncIterator[bytes]:
    path = parts.home.log(trial.sweep_id, trial.number, attempt)
    while True:
        now = await run_in_threadpool(parts.store.get_trial, trial.sweep_id, trial.number)
        # read after asking for the state: what was written before the end is there then
        while chunk := await run_in_threadpool(_read, path, offset):
            offset += len(chunk)
            yield chunk
        if not follow or now.state.finished or now.attempt > attempt:
            return
        await asyncio.sleep(_POLL_S)


def _read(path: Path, offset: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(_CHUNK)
    except FileNotFoundError:
        return b""


@router.get("/{number}/checkpoint", operation_id="download_checkpoint", response_class=StreamingResponse)
def checkpoint(parts: PartsDep, sweep: SweepName, number: Number) -> StreamingResponse:
    """The trial's best checkpoint, a tar of its folder."""
    trial = get_trial(parts, sweep, number)
    if trial.checkpoint is None:
        raise NotFound(f"trial {number} has no checkpoint: it reported none, or only those of better trials are kept")
    folder = (parts.home.path / trial.checkpoint.path).resolve()
    if not folder.is_relative_to(parts.home.runs.resolve()) or not folder.is_dir():
        raise NotFound(f"the checkpoint of trial {number} is not on this machine: {trial.checkpoint.path}")
    headers = {"Content-Disposition": f'attachment; filename="trial-{number}-step-{trial.checkpoint.step}.tar"'}
    return StreamingResponse(_tar(folder), media_type="application/x-tar", headers=headers)


def _tar(folder: Path) -> Iterator[bytes]:
    """A tar of the folder's files, piece by piece: a model may be larger than the memory."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            info = tarfile.TarInfo(path.relative_to(folder).as_posix())
            info.size, info.mtime, info.mode = status.st_size, int(status.st_mtime), 0o644
            yield info.tobuf()
            while chunk := file.read(_CHUNK):
                yield chunk
        yield bytes(-info.size % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)
