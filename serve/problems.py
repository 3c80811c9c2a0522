"""Every error as `application/problem+json` (RFC 9457): never a traceback, always a request id."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from toprung.errors import InternalError, Problem, ToprungError

logger = logging.getLogger("toprung.http")

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 2


class ProblemItem(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str
    code: str
    message: str
    hint: str | None = None
    line: int | None = None
    column: int | None = None


class ProblemDocument(BaseModel):
    """RFC 9457, with our `code`, the request's id and the single problems."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    state: str | None = None
    errors: list[ProblemItem] = []


RESPONSES: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "What went wrong and what to do about it.",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
    }
}
"""For OpenAPI: every route may answer with a problem."""


def problem_response(
    request: Request,
    *,
    status: int,
    code: str,
    detail: str,
    problems: Sequence[Problem] = (),
    state: str | None = None,
    headers: dict[str, str] | None = None,
) -> Response:
    """A problem document."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": request_id(request),
        "errors": [problem.to_json() for problem in problems],
    }
    if state is not None:
        body["state"] = state
    return JSONResponse(body, status_code=status, media_type=MEDIA_TYPE, headers=headers)


def request_id(request: Request) -> str:
    """The id that the middleware gave to this request."""
    return str(getattr(request.state, "request_id", ""))


def install(app: FastAPI) -> None:
    """Makes problem documents of all exceptions that leave a route."""
    app.add_exception_handler(ToprungError, _toprung)  # type: ignore[arg-type]
    app.add_exception_handler(RequestValidationError, _validation)  # type: ignore[arg-type]
    app.add_exception_handler(HTTPException, _http)  # type: ignore[arg-type]


async def catch_all(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """What no handler knows: logged with the request's id, and told in one sentence."""
    try:
        return await call_next(request)
    except Exception:
        logger.exception("request %s failed: %s %s", request_id(request), request.method, request.url.path)
        error = InternalError("something failed inside the service; its log has it under this request_id")
        return await _toprung(request, error)


async def _toprung(request: Request, error: ToprungError) -> Response:
    headers = {"Retry-After": str(RETRY_AFTER_S)} if error.status == HTTPStatus.SERVICE_UNAVAILABLE else None
    return problem_response(
        request,
        status=error.status,
        code=error.code,
        detail=error.detail,
        problems=error.problems,
        state=error.state,
        headers=headers,
    )


async def _validation(request: Request, error: RequestValidationError) -> Response:
    problems = [
        Problem("/" + "/".join(str(part) for part in details["loc"]), "invalid_value", _sentence(details))
        for details in error.errors()
    ]
    detail = "; ".join(f"{p.pointer} {p.message}" for p in problems)
    return problem_response(request, status=400, code="malformed", detail=detail, problems=problems)


def _sentence(details: dict[str, Any]) -> str:
    text = str(details["msg"])
    return f"{text[:1].lower()}{text[1:]}, not {str(details.get('input'))[:80]!r}"


_DETAILS = {
    404: ("not_found", "there is nothing at {path}; /openapi.json lists what there is"),
    405: ("method_not_allowed", "{method} does not apply to {path}"),
}


async def _http(request: Request, error: HTTPException) -> Response:
    code, detail = _DETAILS.get(error.status_code, ("malformed", str(error.detail)))
    return problem_response(
        request,
        status=error.status_code,
        code=code,
        detail=detail.format(method=request.method, path=request.url.path),
        headers=dict(error.headers or {}),
    )
