"""Every error of the HTTP API as a problem document (RFC 9457): one shape, whatever went wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Scope

from toprung.errors import Malformed, NotFound, Problem, ToprungError, Unauthorized, Unavailable

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1

_REQUEST_ID = "toprung.request_id"
_SHOWN_CHARS = 80


class ProblemItem(BaseModel):
    """One thing that is wrong with the request."""

    pointer: str
    """JSON Pointer into the body, or /query/…, /path/…, /header/…."""
    code: str
    message: str
    hint: str | None = None
    line: int | None = None
    column: int | None = None


class ProblemDocument(BaseModel):
    """What every error answer holds; for OpenAPI."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    state: str | None = None
    """The present state of the object, where that is what stands in the way."""
    errors: list[ProblemItem]


def set_request_id(scope: Scope, request_id: str) -> None:
    scope[_REQUEST_ID] = request_id


def request_id_of(scope: Scope) -> str:
    return str(scope[_REQUEST_ID])


def problem_response(
    scope: Scope,
    status: int,
    code: str,
    detail: str,
    *,
    problems: Sequence[Problem] = (),
    state: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A problem document as an answer to the request of `scope`."""
    document: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id_of(scope),
        **({} if state is None else {"state": state}),
        "errors": [problem.to_json() for problem in problems],
    }
    # "replace": what a user sent may hold half a surrogate pair, which is no UTF-8
    body = json.dumps(document, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    return Response(body, status, headers, MEDIA_TYPE)


def error_response(scope: Scope, error: ToprungError) -> Response:
    """The answer that a `ToprungError` means."""
    return problem_response(
        scope,
        error.status,
        error.code,
        error.detail,
        problems=error.problems,
        state=error.state,
        headers=_headers(error),
    )


def _headers(error: ToprungError) -> dict[str, str] | None:
    if isinstance(error, Unavailable):
        return {"Retry-After": str(RETRY_AFTER_S)}
    return {"WWW-Authenticate": "Bearer"} if isinstance(error, Unauthorized) else None


def install(app: FastAPI) -> None:
    """Make `app` answer with problem documents. What nobody expected is caught by `toprung.serve.http.gate`."""
    app.add_exception_handler(ToprungError, _on_toprung_error)
    app.add_exception_handler(RequestValidationError, _on_bad_parameters)
    app.add_exception_handler(HTTPException, _on_http_exception)


async def _on_toprung_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, ToprungError)
    return error_response(request.scope, error)


async def _on_bad_parameters(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = [_parameter_problem(details) for details in error.errors()]
    count = "1 parameter is" if len(problems) == 1 else f"{len(problems)} parameters are"
    first = problems[0]
    detail = f"{count} wrong: {first.pointer} {first.message}"
    return error_response(request.scope, Malformed(detail, problems=problems))


async def _on_http_exception(request: Request, error: Exception) -> Response:
    """Errors of the framework itself: no such route, wrong method."""
    assert isinstance(error, HTTPException)
    what = f"{request.method} {request.url.path[:200]}"
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"There is no {what}; /openapi.json describes what there is."
        return error_response(request.scope, NotFound(detail))
    headers = error.headers
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allow = ", ".join(allowed_methods(request))
        headers = {"Allow": allow}
        return problem_response(
            request.scope, 405, "method_not_allowed", f"{what} is not possible here; {allow} is.", headers=headers
        )
    code = "malformed" if error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR else "internal"
    return problem_response(request.scope, error.status_code, code, str(error.detail), headers=headers)


def allowed_methods(request: Request) -> list[str]:
    """The methods of all routes at the request's path: the framework names those of the first alone."""
    path = request.scope["path"]
    patterns = request.app.state.routes
    return sorted({method for regex, methods in patterns if regex.match(path) for method in methods})


def _parameter_problem(details: Mapping[str, Any]) -> Problem:
    pointer = "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in details["loc"])
    if details["type"] == "extra_forbidden":
        return Problem(pointer, "unknown_parameter", "is not a parameter here", "see /openapi.json")
    if details["type"] == "missing":
        return Problem(pointer, "missing_parameter", "is missing")
    shown = repr(details.get("input"))
    if len(shown) > _SHOWN_CHARS:
        shown = f"{shown[:_SHOWN_CHARS]}…"
    message = (
        str(details["msg"])
        .replace("Input should", "should")
        .replace("String should", "should")
        .removeprefix("Value error, ")
    )
    return Problem(pointer, "bad_parameter", f"{message}, not {shown}")
