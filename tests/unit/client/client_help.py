"""A scripted service, and what makes an async client usable in tests written for the sync one."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx

from toprung.tuning.records import Event, Sweep, SweepState, Trial, TrialState
from toprung.tuning.spec import SweepSpec, spec_from

Connect = Callable[..., Any]
URL = "http://toprung.test:8000"
SPEC = {
    "name": "digits",
    "trainable": "train:fit",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}, "epochs": 3},
    "budget": {"trials": 4},
}


class Blocking:
    """An async client or handle, used as if it were a sync one."""

    def __init__(self, target: Any, runner: asyncio.Runner) -> None:
        self._target = target
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        return (lambda *a, **k: self._wait(found(*a, **k))) if inspect.ismethod(found) else self._wrap(found)

    def _wait(self, result: Any) -> Any:
        if inspect.iscoroutine(result):
            return self._wrap(self._runner.run(result))
        return self._items(result) if hasattr(result, "__anext__") else self._wrap(result)

    def _wrap(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._wrap(item) for item in value]
        return Blocking(value, self._runner) if type(value).__name__.startswith("Async") else value

    def _items(self, items: AsyncIterator[Any]) -> Iterator[Any]:
        end = object()

        async def following() -> Any:
            return await anext(items, end)

        async def close() -> None:
            await items.aclose()  # type: ignore[attr-defined]  # all our iterators are generators

        try:
            while (item := self._runner.run(following())) is not end:
                yield self._wrap(item)
        finally:
            self._runner.run(close())


class Chunks(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A response's body in chunks, perhaps broken off at the end; knows whether it was closed."""

    def __init__(self, chunks: Iterable[bytes], broken: Exception | None = None) -> None:
        self._chunks = chunks
        self._broken = broken
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks
        if self._broken is not None:
            raise self._broken

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


def spec(**changes: Any) -> SweepSpec:
    return spec_from({**SPEC, **changes})


def sweep(state: SweepState = SweepState.RUNNING, **changes: Any) -> Sweep:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    given = {"id": "swp_1", "name": "digits", "state": state, "spec": spec(), "created_at": now, "num_trials": 4}
    return Sweep.model_validate({**given, **changes})


def trial(number: int, **changes: Any) -> Trial:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    given = {"sweep_id": "swp_1", "number": number, "state": TrialState.COMPLETED, "created_at": now}
    return Trial.model_validate({**given, "params": {"lr": 0.1}, "config": {"lr": 0.1, "epochs": 3}, **changes})


def event(id: int, **data: Any) -> Event:
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return Event(id=id, sweep_id="swp_1", type="trial.state", at=now, data=data)


def answer(record: Any, status: int = 200) -> httpx.Response:
    """A success of the service."""
    body = record if isinstance(record, dict) else record.model_dump(mode="json")
    return httpx.Response(status, json=body)


def problem(status: int, code: str, detail: str = "It went wrong.", **more: Any) -> httpx.Response:
    """An error of the service."""
    headers = {"content-type": "application/problem+json", **more.pop("headers", {})}
    document = {"type": "about:blank", "status": status, "title": "", "detail": detail, "code": code, "errors": []}
    return httpx.Response(status, headers=headers, json={**document, "request_id": "req_1", **more})
