"""The page: static files that anybody may have, since all they show comes from the API.

Everything is in memory from the start, and a path is looked up among these files: there is no way out of the folder.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.responses import Response

from toprung.errors import NotFound
from toprung.serve.http.answers import matches

router = APIRouter(include_in_schema=False)

_INDEX = "index.html"
_PLOTLY = "plotly.min.js"
_MEDIA_TYPES = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".yaml": "text/plain",
}
_MIN_GZIP_BYTES = 512
_POLICY = (
    # 'unsafe-eval': plotly compiles the wrappers of its WebGL shaders by Function; 'unsafe-inline': it sets styles.
    # No script is inline, and none comes from elsewhere
    "default-src 'none'; script-src 'self' 'unsafe-eval'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; font-src 'self'; form-action 'self'; frame-ancestors 'none'; "
    "base-uri 'none'"
)
_PAGE_HEADERS = {"Content-Security-Policy": _POLICY, "Referrer-Policy": "same-origin"}
_REVALIDATE = "no-cache"
_FOR_GOOD = "public, max-age=31536000, immutable"


@dataclass(frozen=True)
class _File:
    """A file as it is sent."""

    content: bytes
    zipped: bytes | None
    """None where zipping saves nothing."""
    etag: str
    media_type: str

    @classmethod
    def of(cls, name: str, content: bytes) -> _File:
        zipped = gzip.compress(content, 6, mtime=0) if len(content) >= _MIN_GZIP_BYTES else None
        etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
        return cls(content, zipped, etag, _MEDIA_TYPES[Path(name).suffix])


@router.api_route("/", methods=["GET", "HEAD"])
@router.api_route("/compare", methods=["GET", "HEAD"])
@router.api_route("/cluster", methods=["GET", "HEAD"])
@router.api_route("/login", methods=["GET", "HEAD"])
@router.api_route("/submit", methods=["GET", "HEAD"])
@router.api_route("/sweeps/{path:path}", methods=["GET", "HEAD"])
async def get_page(request: Request) -> Response:
    """The page, which finds out by its address what to show."""
    return _answer(request, _files()[_INDEX], _REVALIDATE, _PAGE_HEADERS)


@router.api_route("/static/{path:path}", methods=["GET", "HEAD"])
async def get_file(request: Request, path: str) -> Response:
    """A file of the page's.

    Raises:
        NotFound: there is none of that name.
    """
    if path == _PLOTLY:
        asked = request.query_params.get("v") == version("plotly")
        return _answer(request, await asyncio.to_thread(_plotly), _FOR_GOOD if asked else _REVALIDATE)
    file = _files().get(path)
    if file is None or path == _INDEX:
        raise NotFound(f"The page has no file {path[:200]}.")
    return _answer(request, file, _REVALIDATE)


def _answer(request: Request, file: _File, caching: str, more: dict[str, str] | None = None) -> Response:
    headers = {"ETag": file.etag, "Cache-Control": caching, "Vary": "Accept-Encoding", **(more or {})}
    if matches(request.headers.getlist("if-none-match"), file.etag):
        return Response(status_code=304, headers=headers)
    content = file.content
    if file.zipped is not None and _takes_gzip(request):
        content = file.zipped
        headers["Content-Encoding"] = "gzip"
    return Response(content, headers=headers, media_type=file.media_type)


def _takes_gzip(request: Request) -> bool:
    codings = (coding.partition(";") for coding in request.headers.get("accept-encoding", "").lower().split(","))
    return any(name.strip() in ("gzip", "*") and quality.replace(" ", "") != "q=0" for name, _, quality in codings)


@cache
def _files() -> dict[str, _File]:
    """All files of the page, by the path at which they are asked for."""
    found = {}
    for path, name in _sources():
        content = path.read_bytes()
        if name == _INDEX:
            content = content.replace(b"{{plotly}}", version("plotly").encode())
        found[name] = _File.of(name, content)
    return found


def _sources() -> Iterator[tuple[Path, str]]:
    """Where the files lie, and under which name: the page's folder, and the specs of the examples to begin with."""
    package = Path(str(files("toprung")))
    for folder, prefix, suffixes in (("serve/page", "", _MEDIA_TYPES), ("examples", "examples/", (".yaml",))):
        for path in sorted((package / folder).rglob("*")):
            if path.suffix in suffixes:
                yield path, prefix + path.relative_to(package / folder).as_posix()


@cache
def _plotly() -> _File:
    """Plotly's library out of its Python package, which is not imported for it."""
    package = find_spec("plotly")
    assert package is not None
    assert package.origin is not None
    return _File.of(_PLOTLY, (Path(package.origin).parent / "package_data" / _PLOTLY).read_bytes())
