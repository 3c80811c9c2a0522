"""optuna-dashboard under `/optuna/`, for those who may read: what would change something is no route."""

from __future__ import annotations

from importlib.util import find_spec

from fastapi import APIRouter, Request
from starlette.responses import Response

from toprung.errors import NotFound
from toprung.serve.http.access import Credentials
from toprung.serve.http.context import Context
from toprung.serve.http.passing import ask, redirect, to_login
from toprung.serve.tracking.live import Program

router = APIRouter(include_in_schema=False)

ROOT = "/optuna"
DASHBOARD = Program("toprung.serve.studies", "optuna-dashboard")


@router.get(ROOT)
async def to_the_page(request: Request) -> Response:
    """Where its pages begin."""
    return redirect(f"{ROOT}/dashboard", request)


@router.api_route(f"{ROOT}/{{path:path}}", methods=["GET", "HEAD"])
async def show(request: Request, context: Context, credentials: Credentials, path: str) -> Response:
    """A page of the dashboard's, or what it asks for.

    Raises:
        Unauthorized: no token came with the request, and no session.
        NotFound: it is not installed.
        Unavailable: it does not start, or does not answer.
    """
    if (elsewhere := await to_login(request, context, credentials)) is not None:
        return elsewhere
    if find_spec("optuna_dashboard") is None:
        raise NotFound('optuna-dashboard is not installed here: pip install "toprung[server,dashboard]".')
    if not path:
        return redirect(f"{ROOT}/dashboard", request)
    return await ask(request, context, DASHBOARD, ROOT, context.home.path)
