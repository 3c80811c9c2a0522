"""Records as JSON answers."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from fastapi import Request
from pydantic import BaseModel
from starlette.responses import Response

from toprung.tuning.records import Sweep

JSON = "application/json"
NDJSON = "application/x-ndjson"


def record(model: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """A record as it is. Serialised once, by pydantic: the framework would check it a second time."""
    return Response(model.model_dump_json(), status, headers, JSON)


def items(models: Iterable[BaseModel]) -> Response:
    """`{"items": [...]}`."""
    return Response('{"items":[' + ",".join(model.model_dump_json() for model in models) + "]}", media_type=JSON)


def ndjson(models: Iterable[BaseModel]) -> Response:
    """A line per record."""
    return Response("".join(model.model_dump_json() + "\n" for model in models), media_type=NDJSON)


def cacheable(request: Request, model: BaseModel) -> Response:
    """A record with a strong ETag, or 304 where the caller has it already."""
    body = model.model_dump_json().encode()
    etag = _etag(body, model)
    headers = {"ETag": etag, "Cache-Control": "no-cache"}
    if matches(request.headers.getlist("if-none-match"), etag):
        return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type=JSON)


def etag_of(model: BaseModel) -> str:
    """The strong ETag of a record."""
    return _etag(model.model_dump_json().encode(), model)


def _etag(body: bytes, model: BaseModel) -> str:
    # a sweep's says its revision as well: an edit is refused for another edit, not for another result
    revision = f"r{model.revision}-" if isinstance(model, Sweep) else ""
    return f'"{revision}{hashlib.sha256(body).hexdigest()[:32]}"'


def wants_ndjson(request: Request) -> bool:
    """Whether the caller asks for lines."""
    accepted = ",".join(request.headers.getlist("accept")).lower()
    return any(part.split(";")[0].strip() == NDJSON for part in accepted.split(","))


def matches(given: list[str], etag: str) -> bool:
    """RFC 9110, 13.1.2: the weak comparison."""
    tags = [tag.strip().removeprefix("W/") for tag in ",".join(given).split(",")]
    return etag in tags or "*" in tags
