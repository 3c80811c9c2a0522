"""Every error a user of Toprung can meet, grouped by what the caller should do next.

    ToprungError
    ├── InvalidInput            change what you sent
    │   ├── InvalidSpec         422  the spec has problems; all of them are listed
    │   ├── Malformed           400  not YAML/JSON, a bad query parameter, a bad cursor
    │   ├── TooLarge            413  send less
    │   └── UnsupportedMedia    415  send another content type
    ├── Unauthorized            401  no token, or one that is not known: set TOPRUNG_TOKEN
    ├── Forbidden               403  the token may not do this: ask the sweep's owner or an admin
    ├── NotFound                404  check the name
    ├── Conflict                409  it is in another state; look at `state`
    ├── Unavailable             503  the service is there but cannot do it now; try again
    │   └── NoService           no service answers at the URL; start one or correct the URL
    └── InternalError           500  our fault; report it with the request id

The client raises the class that the service meant: `code` names it on the wire. All survive pickling, because Ray
pickles them on their way between actors.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with what the user sent."""

    pointer: str
    """JSON Pointer (RFC 6901) to the field, "" for the document itself."""
    code: str
    """Stable machine-readable kind, e.g. `unknown_field`; docs/errors.md lists them."""
    message: str
    hint: str | None = None
    line: int | None = None
    """1-based line and column in the submitted text, where the text is known."""
    column: int | None = None

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


class ToprungError(Exception):
    """Base of all errors meant for users.

    Attributes:
        code: stable name of the kind of error, the `code` of the problem document.
        status: the HTTP status the service answers with.
        exit_code: the exit code of the command line.
        detail: what happened and what to do, in one or two sentences.
        problems: the single problems, for errors about an input.
        request_id: the service's id of the failed request, when there was one.
        state: the present state of the object, for `Conflict`.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(
        self,
        detail: str,
        *,
        problems: Sequence[Problem] = (),
        request_id: str | None = None,
        state: str | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.problems = tuple(problems)
        self.request_id = request_id
        self.state = state

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.detail, self.problems, self.request_id, self.state)


def _rebuild(
    kind: type[ToprungError],
    detail: str,
    problems: tuple[Problem, ...],
    request_id: str | None,
    state: str | None,
) -> ToprungError:
    return kind(detail, problems=problems, request_id=request_id, state=state)


class InvalidInput(ToprungError):
    code = "invalid_input"
    status = 400
    exit_code = 2


class InvalidSpec(InvalidInput):
    code = "invalid_spec"
    status = 422


class Malformed(InvalidInput):
    code = "malformed"
    status = 400


class TooLarge(InvalidInput):
    code = "too_large"
    status = 413


class UnsupportedMedia(InvalidInput):
    code = "unsupported_media_type"
    status = 415


class Unauthorized(ToprungError):
    code = "unauthorized"
    status = 401
    exit_code = 7


class Forbidden(ToprungError):
    code = "forbidden"
    status = 403
    exit_code = 7


class NotFound(ToprungError):
    code = "not_found"
    status = 404
    exit_code = 4


class Conflict(ToprungError):
    code = "conflict"
    status = 409
    exit_code = 5


class PreconditionFailed(Conflict):
    code = "precondition_failed"
    status = 412


class PreconditionRequired(InvalidInput):
    code = "precondition_required"
    status = 428


class Unavailable(ToprungError):
    code = "unavailable"
    status = 503
    exit_code = 3


class NoService(Unavailable):
    code = "no_service"


class InternalError(ToprungError):
    code = "internal"
    status = 500
    exit_code = 1


def error_for(code: str, status: int) -> type[ToprungError]:
    """The class for a problem document's `code`; by its status where the code is of a newer service."""
    known = {cls.code: cls for cls in _all(ToprungError)}
    if code in known:
        return known[code]
    by_status: dict[int, type[ToprungError]] = {
        401: Unauthorized,
        403: Forbidden,
        404: NotFound,
        409: Conflict,
        413: TooLarge,
        415: UnsupportedMedia,
    }
    if status in by_status:
        return by_status[status]
    if status in (429, 502, 503, 504):
        return Unavailable
    return InvalidInput if 400 <= status < 500 else InternalError


def _all(cls: type[ToprungError]) -> list[type[ToprungError]]:
    return [cls, *(found for child in cls.__subclasses__() for found in _all(child))]
