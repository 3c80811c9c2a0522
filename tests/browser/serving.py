"""The application over a store, without a cluster, in a browser: what changes in the store is up to the test."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from playwright.sync_api import Browser, Page

from tests.browser.conftest import EXPECTED_REFUSALS, context_of, watched
from tests.integration.conftest import free_port, until
from toprung.serve.home import Home
from toprung.serve.http.app import close, create_app
from toprung.serve.store import Store


class Served:
    """The application at an address that it comes back to after `stop()` and `start()`."""

    def __init__(self, folder: Path) -> None:
        self.home = Home.at(folder / "home")
        self.store = Store(f"sqlite:///{folder}/toprung.db")
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self) -> None:
        self._app = create_app(self.store, self.home.path)
        config = uvicorn.Config(self._app, port=self._port, log_level="warning", timeout_graceful_shutdown=1)
        server = self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=server.run)
        self._thread.start()
        until(lambda: server.started, what="the server")

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        close(self._app)


@contextmanager
def serving(folder: Path) -> Iterator[Served]:
    served = Served(folder)
    yield served
    served.stop()
    served.store.close()


@contextmanager
def page_of(chromium: Browser, url: str, refusals: Mapping[str, set[int]] = EXPECTED_REFUSALS) -> Iterator[Page]:
    """A page with a browser's profile of its own, watched as all are."""
    with context_of(chromium, url) as context:
        yield from watched(context, refusals)
