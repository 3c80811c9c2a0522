"""What the page and the notebook show of a sweep's trials: figures, the table, CSV."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated, Any, Literal

import fastapi
from fastapi import APIRouter, Path, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response, StreamingResponse

from toprung import __version__
from toprung.figures import table
from toprung.figures.columns import Kind, Role
from toprung.figures.view import View
from toprung.serve.http.answers import JSON, matches
from toprung.serve.http.columns import Look
from toprung.serve.http.context import Context, Services, SweepRef
from toprung.serve.http.endpoints.documented import Query, content, problems
from toprung.serve.http.gallery import as_json
from toprung.tuning.records import Sweep

router = APIRouter(tags=["figures"])

FigureName = Literal["best", "curves", "rungs", "parallel", "importance", "slice", "contour"]
_NAME = re.compile(r'"((?:[^"]|"")*)"|([^,]+)')
_CSV = "text/csv; charset=utf-8"


class FigureQuery(Query):
    filter: str = Field("", description="Of which trials: an expression such as `val_loss < 0.2 and x == 1`.")
    log: str | None = Field(None, pattern=r"^(x|y|x,y|y,x)?$", description="Logarithmic axes; none given: the spec's.")
    theme: Literal["light", "dark"] = "light"
    metric: str | None = Field(None, description="The sweep's objective if none is given.")
    parameter: str | None = Field(None, description="Of `slice` and `contour`; the first if none is given.")
    parameter2: str | None = Field(None, description="Of `contour`.")


class TableQuery(Query):
    columns: str | None = Field(None, description="Names with commas between; all if none are given.")
    filter: str = ""
    order_by: str = "number"
    descending: bool = False
    offset: int = Field(0, ge=0, le=2**53)
    limit: int = Field(100, ge=1, le=10_000)


class CsvQuery(Query):
    columns: str | None = None
    filter: str = ""
    order_by: str = "number"
    descending: bool = False


class FigureDocument(BaseModel):
    """A figure in plotly's schema."""

    data: list[dict[str, Any]]
    layout: dict[str, Any]


class TableColumn(BaseModel):
    name: str
    kind: Kind
    role: Role


class TrialTable(BaseModel):
    total: int
    """Trials that the filter leaves."""
    columns: list[TableColumn]
    rows: list[list[Any]]


class BestSoFar(BaseModel):
    points: list[tuple[int, float]]
    """Trial number and the best value up to it, where that changes; at most 60."""


@router.get(
    "/v1/sweeps/{sweep}/figures/{name}",
    operation_id="getFigure",
    response_model=FigureDocument,
    responses={304: {"description": "It is what the caller has (If-None-Match)."}, **problems(400, 404)},
)
async def get_figure(
    context: Context,
    request: Request,
    sweep: SweepRef,
    name: Annotated[FigureName, Path(description="Which figure.")],
    query: Annotated[FigureQuery, fastapi.Query()],
) -> Response:
    """A figure of the sweep's trials; its points carry the trial's number as `customdata`."""
    found, look = await run_in_threadpool(_look, context, sweep)
    etag = _etag(found, look, name, query)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if matches(request.headers.getlist("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    log = None if query.log is None else frozenset(filter(None, query.log.split(",")))
    view = View(found.spec, look.columns, query.filter, query.metric, log, query.theme)
    if name == "importance":
        body = await context.gallery.importance(found, view)
    else:
        of = (query.parameter, query.parameter2)
        body = await run_in_threadpool(context.gallery.drawn, found, look, view, name, *of)
    return Response(body, headers=headers, media_type=JSON)


def _look(context: Services, sweep: str) -> tuple[Sweep, Look]:
    found = context.store.get_sweep(sweep)
    return found, context.columns.columns(found)


def _etag(sweep: Sweep, look: Look, name: str, query: Query) -> str:
    """While nothing has happened in the sweep, its figures are the same."""
    made_of = f"{__version__} {sweep.id} {sweep.revision} {look.last_event} {name} {query.model_dump_json()}"
    return f'"{hashlib.sha256(made_of.encode()).hexdigest()[:32]}"'


@router.get(
    "/v1/sweeps/{sweep}/table", operation_id="getTable", response_model=TrialTable, responses=problems(400, 404)
)
def get_table(context: Context, sweep: SweepRef, query: Annotated[TableQuery, fastapi.Query()]) -> Response:
    """A window of the sweep's trials, filtered, sorted by any column: nulls last, equals by their number."""
    _, look = _look(context, sweep)
    infos = table.chosen(look.columns, _names(query.columns))
    at = table.ordered(look.columns, query.filter, query.order_by, query.descending)
    window = at[query.offset : query.offset + query.limit]
    found = {
        "total": len(at),
        "columns": [{"name": info.name, "kind": info.kind, "role": info.role} for info in infos],
        "rows": table.rows(look.columns, infos, window),
    }
    return Response(as_json(found), media_type=JSON)


@router.get(
    "/v1/sweeps/{sweep}/trials.csv",
    operation_id="downloadCsv",
    response_class=Response,
    responses={200: content("text/csv", "The trials, a line each, after a line of names"), **problems(400, 404)},
)
def download_csv(context: Context, sweep: SweepRef, query: Annotated[CsvQuery, fastapi.Query()]) -> Response:
    """The sweep's trials as CSV; texts that a spreadsheet would take for formulas begin with an apostrophe."""
    found, look = _look(context, sweep)
    infos = table.chosen(look.columns, _names(query.columns))
    at = table.ordered(look.columns, query.filter, query.order_by, query.descending)
    headers = {"Content-Disposition": f'attachment; filename="{found.name}.csv"'}
    return StreamingResponse(table.as_csv(look.columns, infos, at), headers=headers, media_type=_CSV)


@router.get(
    "/v1/sweeps/{sweep}/best-so-far", operation_id="getBestSoFar", response_model=BestSoFar, responses=problems(404)
)
def get_best_so_far(context: Context, sweep: SweepRef) -> Response:
    """The best value so far, in a few points."""
    return Response(as_json({"points": context.gallery.spark(context.store.get_sweep(sweep))}), media_type=JSON)


def _names(columns: str | None) -> list[str] | None:
    """With commas between; one that has a comma is quoted as in CSV."""
    found = [quoted.replace('""', '"') or plain for quoted, plain in _NAME.findall(columns or "")]
    return found or None
