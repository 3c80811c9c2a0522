"""What the service answered: records, or the errors it meant."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from toprung.client.effects import Head
from toprung.errors import InternalError, NoService, Problem, ToprungError, Unavailable, error_for

T = TypeVar("T")

_BUSY = frozenset({429, 502, 503, 504})
_PROBLEM = "application/problem+json"
_PROBLEM_FIELDS = ("code", "message", "hint", "line", "column")


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole response."""

    head: Head
    body: bytes
    url: str
    """Of the service."""
    tries: int = 1
    """How often the request was sent until this answer came."""

    @property
    def busy(self) -> bool:
        """Whether to try again: the service can't answer now, or a proxy in front of it says so.

        Some do with a 500 where the service died with the request; our own is a problem document.
        """
        return self.head.status in _BUSY or (self.head.status == 500 and self.head.media_type != _PROBLEM)

    def parse(self, kind: type[T] | TypeAdapter[T]) -> T:
        """The body of a success as a `kind`.

        Raises:
            ToprungError: the error that the service meant.
            NoService: no Toprung service can have said this.
            InternalError: it is of another shape, so the service is of another version.
        """
        if not 200 <= self.head.status < 300 or self.head.media_type != "application/json":
            raise self.error()
        return parse_record(self.body, kind, self.url)

    def error(self) -> ToprungError:
        """The error that the service meant; NoService if no Toprung service can have said this."""
        problem = _problem_document(self)
        if problem is not None:
            return _meant(problem, self.head)
        if self.busy:
            return Unavailable(f"{self.url} cannot answer now (HTTP {self.head.status}). Try again later.")
        said = self.head.media_type or "no content"
        if target := self.head.headers.get("location"):
            said = f"a redirect to {target}"
        return NoService(
            f"{self.url} answers, but not as a Toprung service does (HTTP {self.head.status}, {said}). "
            "Check TOPRUNG_URL or the url given."
        )


def parse_record(data: bytes | str, kind: type[T] | TypeAdapter[T], url: str) -> T:
    adapter = kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)
    try:
        return adapter.validate_json(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = "/".join(str(part) for part in first["loc"]) or "the whole answer"
        raise InternalError(
            f"The answer of {url} was not understood ({where}: {first['msg']}). "
            "Client and service may be of different versions: compare `toprung.__version__` with `Client().version()`."
        ) from error


def _meant(problem: dict[str, Any], head: Head) -> ToprungError:
    kind = error_for(str(problem.get("code", "")), head.status)
    return kind(
        str(problem.get("detail") or problem.get("title") or f"HTTP {head.status}"),
        problems=[_problem(item) for item in problem.get("errors") or () if isinstance(item, dict)],
        request_id=problem.get("request_id") or head.headers.get("x-request-id"),
        state=problem.get("state"),
    )


def _problem_document(reply: Reply) -> dict[str, Any] | None:
    if reply.head.media_type != _PROBLEM:
        return None
    try:
        document = json.loads(reply.body)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _problem(item: dict[str, Any]) -> Problem:
    fields = {name: item.get(name) for name in _PROBLEM_FIELDS}
    return Problem(
        pointer=str(item.get("pointer", "")),
        code=str(fields.pop("code") or "invalid"),
        message=str(fields.pop("message") or ""),
        **fields,
    )
