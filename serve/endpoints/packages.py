"""Uploaded code."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from toprung.serve.packages import MAX_BYTES, Package
from toprung.serve.problems import RESPONSES
from toprung.serve.requests import PartsDep, bounded

router = APIRouter(prefix="/v1/packages", tags=["packages"], responses=RESPONSES)

Sha256 = Annotated[str, Path(description="SHA-256 of the zip file, 64 small hexadecimal digits.")]


@router.put("/{sha256}", operation_id="put_package", response_model=Package, status_code=201)
async def put(request: Request, response: Response, parts: PartsDep, sha256: Sha256) -> Package:
    """Uploads a zip of a code folder. 200 when it was here already."""
    response.status_code = 200 if parts.packages.has(sha256) else 201
    chunks = bounded(request, MAX_BYTES, "leave data out of the code folder (.toprungignore)")
    return await parts.packages.put(sha256, chunks)


@router.get("/{sha256}", operation_id="get_package", response_model=Package)
def get(parts: PartsDep, sha256: Sha256) -> Package:
    """Whether a package is here."""
    return parts.packages.get(sha256)
