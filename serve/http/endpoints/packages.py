"""Uploaded code."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from toprung.errors import NotFound
from toprung.serve.http import audit
from toprung.serve.http.access import Writer
from toprung.serve.http.answers import record
from toprung.serve.http.bodies import check_media_type, limited
from toprung.serve.http.context import Context
from toprung.serve.http.endpoints.documented import problems
from toprung.serve.http.packages import MAX_PACKAGE_BYTES, Package

router = APIRouter(tags=["packages"])

Sha256 = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the zip, in small letters.")]
_ZIP = "application/zip"


@router.put(
    "/v1/packages/{sha256}",
    operation_id="uploadPackage",
    status_code=201,
    response_model=Package,
    responses={200: {"model": Package, "description": "It was there already"}, **problems(400, 403, 413, 415)},
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "A zip of plain files, at most 100 MiB.",
            "content": {_ZIP: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
)
async def upload_package(context: Context, caller: Writer, request: Request, sha256: Sha256) -> Response:
    """Upload a zip of a code folder; `code: sha256:…` in a spec then means it."""
    audit.note_target(request.scope, sha256)
    check_media_type(request, (_ZIP,), "a package")
    package, new = await context.packages.add(sha256, limited(request, MAX_PACKAGE_BYTES, "A package"))
    return record(package, 201 if new else 200)


@router.get("/v1/packages/{sha256}", operation_id="getPackage", response_model=Package, responses=problems(400, 404))
def get_package(context: Context, sha256: Sha256) -> Response:
    """Whether a package has been uploaded."""
    package = context.packages.find(sha256)
    if package is None:
        raise NotFound(f"No package {sha256} has been uploaded.")
    return record(package)
