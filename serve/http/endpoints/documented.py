"""What the routes' OpenAPI entries have in common."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, ConfigDict

from toprung.serve.http.problems import MEDIA_TYPE

PROBLEM = {"$ref": "#/components/schemas/ProblemDocument"}

Responses = dict[int | str, dict[str, Any]]


class Query(BaseModel):
    """Query parameters; a misspelt one is an error rather than ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def problems(*statuses: int) -> Responses:
    """The errors of a route; any may also answer with those of every route (400, 401, 421, 500, 503)."""
    return {
        **{status: _problem(HTTPStatus(status).phrase) for status in statuses},
        "default": _problem("Any other error"),
    }


def content(media_type: str, description: str, **more: Any) -> dict[str, Any]:
    """A response that isn't JSON."""
    return {"description": description, "content": {media_type: {"schema": {"type": "string", **more}}}}


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": PROBLEM}}}
