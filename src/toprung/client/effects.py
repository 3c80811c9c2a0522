"""What the client's logic asks of the outside world, so that it can be written once for sync and async.

An operation is a generator: it yields an effect, and the driver (`toprung.client.drivers`) carries the effect out and
sends the answer back in, or throws what went wrong. `Op[T]` returns a `T`; `Flow[T]` emits `T`s on its way.

An operation has at most one response open: opening the next one, or ending in any way, closes it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import httpx

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """One HTTP request; can be sent any number of times."""

    method: str
    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Path | None = None
    """A path: the file's content, streamed."""
    read_timeout_s: float | None = None
    """Longest silence to bear; None: the client's."""


@dataclass(frozen=True, slots=True)
class Head:
    """Status and headers of an open response; its body is read by `read`."""

    status: int
    headers: httpx.Headers

    @property
    def media_type(self) -> str:
        return str(self.headers.get("content-type", "")).partition(";")[0].strip().lower()


@dataclass(frozen=True, slots=True)
class Open:
    request: Request


@dataclass(frozen=True, slots=True)
class Read:
    """The next chunk of the open response, None at its end."""


@dataclass(frozen=True, slots=True)
class Sleep:
    delay_s: float


@dataclass(frozen=True, slots=True)
class Call:
    """Blocking work (files, compression): the async driver does it in a thread."""

    work: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Emit(Generic[T]):
    value: T


Effect: TypeAlias = Open | Read | Sleep | Call
Op: TypeAlias = Generator[Effect, Any, T]
Flow: TypeAlias = Generator[Effect | Emit[T], Any, None]


def open_response(request: Request) -> Op[Head]:
    """Send `request`, return as soon as the headers are there.

    Raises:
        httpx.TransportError: no answer; so do `read` and `read_all`.
    """
    head: Head = yield Open(request)
    return head


def read() -> Op[bytes | None]:
    chunk: bytes | None = yield Read()
    return chunk


def read_all() -> Op[bytes]:
    chunks = []
    while (chunk := (yield from read())) is not None:
        chunks.append(chunk)
    return b"".join(chunks)


def sleep(delay_s: float) -> Op[None]:
    if delay_s > 0:
        yield Sleep(delay_s)


def call(work: Callable[[], T]) -> Op[T]:
    result: T = yield Call(work)
    return result
