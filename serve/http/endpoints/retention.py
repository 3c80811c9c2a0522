"""What is on disk, and what goes: a sweep's files, deleting a sweep, cleaning up."""

from __future__ import annotations

from typing import Annotated

import fastapi
from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from toprung.errors import Unavailable
from toprung.serve.http.access import Admin, OwnSweepId
from toprung.serve.http.answers import items, record
from toprung.serve.http.context import Context, Services, SweepRef
from toprung.serve.http.endpoints.documented import Query, problems
from toprung.serve.retention.collection import clean_up
from toprung.serve.retention.files import Tally, files_of, measured
from toprung.tuning.garbage import CleanUp, FileKind, Files
from toprung.tuning.records import Sweep

router = APIRouter(tags=["retention"])

_CENTURY_S = 100 * 366 * 24 * 3600


class CleanUpQuery(Query):
    dry_run: bool = False
    """Only say what would go."""
    older_than_s: float | None = Field(None, ge=0, le=_CENTURY_S)
    """Checkpoints and logs of sweeps that ended longer ago go too."""


class SweepFiles(BaseModel):
    items: list[Files]


@router.get(
    "/v1/sweeps/{sweep}/files", operation_id="listFiles", response_model=SweepFiles, responses=problems(400, 404)
)
def list_files(context: Context, sweep: SweepRef) -> Response:
    """What a sweep has on disk, by kind; deleting it removes this."""
    found = context.store.get_sweep(sweep)
    tally = Tally(context.home)
    try:
        _count(context, found, tally)
    except OSError as error:
        raise Unavailable(f"The storage of checkpoints does not answer: {error}") from error
    return items(tally.files())


def _count(context: Services, found: Sweep, tally: Tally) -> None:
    paths = files_of(context.home, found)
    if found.spec.code is not None:
        package = context.home.package(found.spec.code.removeprefix("sha256:"))
        paths |= {FileKind.CODE: [package]} if package.exists() else {}
    for kind, each in paths.items():
        for path in each:
            tally.add(kind, path, measured(path)[0])


@router.delete(
    "/v1/sweeps/{sweep}",
    operation_id="deleteSweep",
    status_code=204,
    response_class=Response,
    responses=problems(403, 404, 409),
)
def delete_sweep(context: Context, sweep: OwnSweepId) -> Response:
    """Delete a finished sweep. It is not there from now on; its rows and files are removed in the background."""
    context.store.delete_sweep(sweep)
    return Response(status_code=204)


@router.post("/v1/gc", operation_id="cleanUp", response_model=CleanUp, responses=problems(400, 403))
def collect(context: Context, admin: Admin, query: Annotated[CleanUpQuery, fastapi.Query()]) -> Response:
    """Remove the files that nobody needs, or say which these are."""
    return record(clean_up(context.store, context.home, dry_run=query.dry_run, older_than_s=query.older_than_s))
