"""The real app in process, on a store of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest

from toprung.serve.http.app import create_app
from toprung.serve.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path}/toprung.db")
    yield opened
    opened.close()


@pytest.fixture
async def http(store: Store, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(store, tmp_path), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        yield client


@pytest.fixture
async def guarded(store: Store, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """The same with access control; nobody is logged in."""
    transport = httpx.ASGITransport(create_app(store, tmp_path, auth=True), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://head.example:8000") as client:
        yield client
