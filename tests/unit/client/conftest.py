"""The tests are written once, in sync style, and run on `Client` and `AsyncClient`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.unit.client.client_help import URL, Blocking, Connect

from toprung.client import AsyncClient, Client, drivers


@pytest.fixture(params=["sync", "async"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Makes a client of either kind; it is closed after the test."""
    clients: list[Any] = []
    with asyncio.Runner() as runner:

        def make(handler: Any = None, *, url: str = URL, **options: Any) -> Any:
            if handler is not None:
                options["transport"] = httpx.MockTransport(handler)
            client: Any = Client(url, **options)
            if request.param == "async":
                client.close()
                client = Blocking(AsyncClient(url, **options), runner)
            clients.append(client)
            return client

        yield make
        for client in clients:
            client.close()


@pytest.fixture
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Clients don't sleep, they note here how long they would have."""
    noted: list[float] = []

    async def nap(delay_s: float) -> None:
        noted.append(delay_s)

    monkeypatch.setattr(drivers, "time", SimpleNamespace(sleep=noted.append))
    monkeypatch.setattr(drivers, "asyncio", SimpleNamespace(sleep=nap, to_thread=asyncio.to_thread))
    return noted
