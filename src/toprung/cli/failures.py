"""Errors as people and programs meet them: what to print, and the exit code."""

from __future__ import annotations

import os
import sys
import traceback
from http import HTTPStatus
from typing import Any

import typer
from rich.text import Text

from toprung.cli.session import Session
from toprung.errors import InvalidSpec, Problem, ToprungError

INTERRUPTED = 130
ENDED_BADLY = 6
"""The sweep that was watched failed or was cancelled."""

CliError: type[Exception] = next(cls for cls in typer.BadParameter.__mro__ if cls.__name__ == "ClickException")
"""Base of usage errors; typer doesn't name it, and newer versions carry their own copy of click."""


def report(session: Session, error: BaseException) -> int:
    """Print `error` the way the session wants it and return the exit code."""
    if os.environ.get("TOPRUNG_DEBUG"):
        traceback.print_exception(error)
    if isinstance(error, ToprungError):
        return _report_ours(session, error)
    if isinstance(error, typer.Abort | KeyboardInterrupt):
        return INTERRUPTED
    if isinstance(error, CliError):
        return _report_usage(session, error)
    if isinstance(error, OSError) and error.filename is not None:
        return _print(session, "file", f"{error.filename}: {error.strerror}.", status=400, exit_code=2)
    return _report_bug(session, error)


def _report_ours(session: Session, error: ToprungError) -> int:
    if session.as_json:
        session.emit(problem_document(error))
    elif error.problems:
        _print_problems(session, error)
    else:
        session.err.print(error.detail)
        if error.request_id and error.status >= 500:
            session.err.print(f"Request {error.request_id}: the service's log tells more.")
    return error.exit_code


def problem_document(error: ToprungError) -> dict[str, Any]:
    """The object that the service would have answered with (RFC 9457)."""
    document = {
        "type": "about:blank",
        "title": HTTPStatus(error.status).phrase,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "request_id": error.request_id,
        "state": error.state,
        "errors": [problem.to_json() for problem in error.problems],
    }
    return {key: value for key, value in document.items() if key != "state" or value is not None}


def _print_problems(session: Session, error: ToprungError) -> None:
    err, problems = session.err, error.problems
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    err.print(
        f"{session.subject or 'The spec'} has {count}\n" if isinstance(error, InvalidSpec) else f"{error.detail}\n"
    )
    places = [f"line {p.line}" if p.line else "" for p in problems]
    place_width = max(map(len, places))
    pointer_width = min(max(len(p.pointer) for p in problems), 40)
    for place, problem in zip(places, problems, strict=True):
        line = Text("  ")
        line.append(f"{place:<{place_width}}  " if place_width else "", "dim")
        line.append(f"{problem.pointer or '/':<{pointer_width}}", "bold")
        line.append(f" {_message(problem)}")
        err.print(line)
    if session.subject:
        err.print("\nNothing was submitted.")


def _message(problem: Problem) -> str:
    return f"{problem.message}; {problem.hint}" if problem.hint else problem.message


def _report_usage(session: Session, error: Any) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context is not None else "toprung"
    message = error.format_message().strip()
    message += "" if message.endswith((".", "?")) else "."
    return _print(session, "usage", f"{message}\nTry `{path} --help`.", status=400, exit_code=error.exit_code)


def _report_bug(session: Session, error: BaseException) -> int:
    what = traceback.format_exception_only(error)[-1].strip()
    detail = f"This is a bug in toprung: {what}\nPlease report it with what `TOPRUNG_DEBUG=1 toprung …` prints."
    return _print(session, "bug", detail, status=500, exit_code=1)


def _print(session: Session, code: str, detail: str, *, status: int, exit_code: int) -> int:
    if session.as_json:
        document = {
            "type": "about:blank",
            "title": HTTPStatus(status).phrase,
            "status": status,
            "detail": detail,
            "code": code,
        }
        session.emit({**document, "request_id": None, "errors": []})
    else:
        session.err.print(detail)
    sys.stderr.flush()
    return exit_code
