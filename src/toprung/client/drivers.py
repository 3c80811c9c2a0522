"""The two drivers that carry out what operations ask for: the only places of the client that do I/O over HTTP."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from contextlib import aclosing, closing
from pathlib import Path
from typing import Any, TypeVar

import httpx

from toprung.client.effects import Call, Effect, Emit, Flow, Head, Op, Open, Read, Request, Sleep

T = TypeVar("T")

_CHUNK_BYTES = 1 << 18


class SyncDriver:
    """Runs operations on an `httpx.Client`."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http

    def run(self, op: Op[T]) -> T:
        with closing(op), closing(_SyncExchange(self._http)) as exchange:
            try:
                effect = next(op)
                while True:
                    effect = exchange.step(op, effect)
            except StopIteration as end:
                result: T = end.value
                return result

    def iterate(self, flow: Flow[T]) -> Generator[T]:
        with closing(flow), closing(_SyncExchange(self._http)) as exchange:
            try:
                effect = next(flow)
                while True:
                    if isinstance(effect, Emit):
                        yield effect.value
                        effect = next(flow)
                    else:
                        effect = exchange.step(flow, effect)
            except StopIteration:
                return


class _SyncExchange:
    """The open response of one operation."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: Iterator[bytes] = iter(())

    def step(self, op: Generator[Any, Any, Any], effect: Effect) -> Any:
        """Carry out `effect`, tell `op` how it went, return what it asks for next."""
        try:
            answer = self._carry_out(effect)
        except Exception as error:
            return op.throw(error)
        return op.send(answer)

    def close(self) -> None:
        if self._response is not None:
            self._response.close()
            self._response = None

    def _carry_out(self, effect: Effect) -> Any:
        match effect:
            case Open(request):
                return self._open(request)
            case Read():
                return next(self._chunks, None)
            case Sleep(delay_s):
                return time.sleep(delay_s)
            case Call(work):
                return work()

    def _open(self, request: Request) -> Head:
        self.close()
        body = _file_chunks(request.body) if isinstance(request.body, Path) else request.body
        response = self._http.send(_build(self._http, request, body), stream=True)
        self._response, self._chunks = response, response.iter_bytes()
        return Head(response.status_code, response.headers)


class AsyncDriver:
    """Runs operations on an `httpx.AsyncClient`."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def run(self, op: Op[T]) -> T:
        with closing(op):
            async with aclosing(_AsyncExchange(self._http)) as exchange:
                try:
                    effect = next(op)
                    while True:
                        effect = await exchange.step(op, effect)
                except (_Ended, StopIteration) as end:
                    result: T = end.value
                    return result

    async def iterate(self, flow: Flow[T]) -> AsyncGenerator[T]:
        with closing(flow):
            async with aclosing(_AsyncExchange(self._http)) as exchange:
                effect = next(flow, None)
                try:
                    while effect is not None:
                        if isinstance(effect, Emit):
                            yield effect.value
                            effect = next(flow, None)
                        else:
                            effect = await exchange.step(flow, effect)
                except _Ended:
                    return


class _Ended(Exception):
    """An operation's end: a StopIteration cannot leave a coroutine."""

    def __init__(self, value: Any) -> None:
        super().__init__()
        self.value = value


class _AsyncExchange:
    """The open response of one operation."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http
        self._response: httpx.Response | None = None
        self._chunks: AsyncIterator[bytes] | None = None

    async def step(self, op: Generator[Any, Any, Any], effect: Effect) -> Any:
        """Carry out `effect`, tell `op` how it went, return what it asks for next.

        Raises:
            _Ended: the operation has returned.
        """
        try:
            try:
                answer = await self._carry_out(effect)
            except Exception as error:
                return op.throw(error)
            return op.send(answer)
        except StopIteration as end:
            raise _Ended(end.value) from None

    async def aclose(self) -> None:
        if self._response is not None:
            await self._response.aclose()
            self._response = None

    async def _carry_out(self, effect: Effect) -> Any:
        match effect:
            case Open(request):
                return await self._open(request)
            case Read():
                return None if self._chunks is None else await anext(self._chunks, None)
            case Sleep(delay_s):
                return await asyncio.sleep(delay_s)
            case Call(work):
                return await asyncio.to_thread(work)

    async def _open(self, request: Request) -> Head:
        await self.aclose()
        body = _file_chunks_async(request.body) if isinstance(request.body, Path) else request.body
        response = await self._http.send(_build(self._http, request, body), stream=True)
        self._response, self._chunks = response, response.aiter_bytes()
        return Head(response.status_code, response.headers)


def _build(http: httpx.Client | httpx.AsyncClient, request: Request, body: Any) -> httpx.Request:
    timeout = http.timeout
    if request.read_timeout_s is not None:
        timeout = httpx.Timeout(
            connect=timeout.connect, read=request.read_timeout_s, write=timeout.write, pool=timeout.pool
        )
    return http.build_request(
        request.method,
        request.path,
        params=dict(request.params),
        headers=dict(request.headers),
        content=body,
        timeout=timeout,
    )


def _file_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


async def _file_chunks_async(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk
