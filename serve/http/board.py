"""TensorBoard under `/tensorboard/`, for those who may read.

`/tensorboard/` shows all sweeps, `/tensorboard/<sweep's id>/` one. A browser can't be made to send a token with each
picture of a page: it is led to the login (`login.py`), whose cookie opens these pages as well. What TensorBoard is
asked changes nothing, also where it is a POST.
"""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from toprung.errors import NotFound
from toprung.serve.http.access import Credentials
from toprung.serve.http.context import Context, Services
from toprung.serve.http.passing import ask, redirect, to_login
from toprung.serve.tracking.live import TENSORBOARD
from toprung.serve.tracking.sink import folder_name

router = APIRouter(include_in_schema=False)

ROOT = "/tensorboard"
_SWEEP = re.compile(r"(swp_[0-9a-z]+)(/.*)?")


@router.get(ROOT)
async def to_the_page(request: Request) -> Response:
    """The page's paths are relative to its own, with a slash."""
    return redirect(f"{ROOT}/", request)


@router.api_route(f"{ROOT}/{{path:path}}", methods=["GET", "HEAD", "POST"])
async def show(request: Request, context: Context, credentials: Credentials, path: str) -> Response:
    """A page of TensorBoard's, or what it asks for.

    Raises:
        Unauthorized: no token came with the request, and no session.
        NotFound: there is no such sweep, or it has nothing for TensorBoard.
        Unavailable: TensorBoard does not start, or does not answer.
    """
    if (elsewhere := await to_login(request, context, credentials)) is not None:
        return elsewhere
    prefix, logdir = ROOT, context.home.tensorboard
    if sweep := _SWEEP.fullmatch(path):
        prefix = f"{ROOT}/{sweep[1]}"
        logdir = await asyncio.to_thread(_folder, context, sweep[1])
        if not sweep[2]:
            return redirect(f"{prefix}/", request)
    return await ask(request, context, TENSORBOARD, prefix, logdir)


def _folder(context: Services, sweep_id: str) -> Path:
    sweep = context.store.get_sweep(sweep_id)
    if not sweep.spec.tracking.tensorboard:
        raise NotFound(
            f"Sweep {sweep.name} is not written for TensorBoard: its spec has `tracking.tensorboard: false`."
        )
    return context.home.tensorboard / folder_name(sweep)
