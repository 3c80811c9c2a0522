"""Reading request bodies: never more than is allowed, whatever the caller announced."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from typing import TypeVar

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from toprung.errors import TooLarge, UnsupportedMedia
from toprung.serve.http.answers import JSON

MAX_JSON_BYTES = 1024 * 1024

M = TypeVar("M", bound=BaseModel)


def check_media_type(request: Request, accepted: Collection[str], what: str) -> str:
    """The body's media type.

    Raises:
        UnsupportedMedia: it isn't one of `accepted`, or the body is encoded.
    """
    given = request.headers.get("content-type", "")
    media_type, _, parameters = given.partition(";")
    media_type = media_type.strip().lower()
    if media_type not in accepted:
        said = f"not {given[:200]!r}" if given else "and the request has none"
        raise UnsupportedMedia(f"Content-Type of {what} must be one of {', '.join(accepted)}, {said}.")
    charset = parameters.strip().lower().removeprefix("charset=").strip('"')
    if parameters.strip().lower().startswith("charset=") and charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMedia(f"{what} must be UTF-8, not {charset[:50]!r}.")
    encoding = request.headers.get("content-encoding", "identity").lower()
    if encoding != "identity":
        raise UnsupportedMedia(f"{what} must be sent without Content-Encoding, not as {encoding[:50]!r}.")
    return media_type


async def limited(request: Request, max_bytes: int, what: str) -> AsyncIterator[bytes]:
    """The body in chunks.

    Raises:
        TooLarge: it is larger, or says that it will be.
    """
    too_large = TooLarge(f"{what} may have at most {max_bytes / 2**20:,.0f} MiB.")
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and (len(declared) > 18 or int(declared) > max_bytes):
        raise too_large
    seen = 0
    async for chunk in request.stream():
        seen += len(chunk)
        if seen > max_bytes:
            raise too_large
        yield chunk


async def read_json(request: Request, kind: type[M], what: str) -> M:
    """The body, as a JSON object of a kind.

    For dependencies that know the caller by then: the framework itself would read the body of anybody, and all of it,
    before it asks who it is.

    Raises:
        TooLarge: it has more than a mebibyte.
        UnsupportedMedia: it says that it isn't JSON.
        RequestValidationError: it is none, or not of this kind.
    """
    check_media_type(request, (JSON,), what)
    data = b"".join([chunk async for chunk in limited(request, MAX_JSON_BYTES, what)])
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from None
