"""The real app over real HTTP, on a real store with a few sweeps in it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn
from tests.integration.conftest import until
from tests.unit.cli.cli_served import Served, seeded

from toprung.serve.home import Home
from toprung.serve.http.app import create_app
from toprung.serve.http.context import Cluster
from toprung.serve.store import Store


@pytest.fixture(autouse=True)
def no_other_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Tests never meet a service that runs on the developer's machine."""
    monkeypatch.delenv("TOPRUNG_URL", raising=False)
    monkeypatch.delenv("TOPRUNG_TOKEN", raising=False)
    monkeypatch.delenv("TOPRUNG_DEBUG", raising=False)
    monkeypatch.setenv("TOPRUNG_HOME", str(tmp_path / "no-home"))
    monkeypatch.setenv("COLUMNS", "120")


@contextmanager
def serving(
    path: Path, monkeypatch: pytest.MonkeyPatch, *, auth: bool, cluster: Cluster | None = None
) -> Iterator[Served]:
    home = Home.at(path)
    store = Store(home.store_url)
    app = create_app(store, home.path, auth=auth, cluster=cluster)
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning", lifespan="on"))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started, what="the server")
        port = server.servers[0].sockets[0].getsockname()[1]
        monkeypatch.setenv("TOPRUNG_URL", f"http://127.0.0.1:{port}")
        yield seeded(f"http://127.0.0.1:{port}", store, home)
    finally:
        server.should_exit = True
        thread.join(20)
        store.close()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    with serving(tmp_path / "home", monkeypatch, auth=False) as found:
        yield found


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    """The same with access control; no token is set."""
    with serving(tmp_path / "home", monkeypatch, auth=True) as found:
        yield found
