"""The HTTP replica: Ray Serve starts it, asks after its health, and starts another when it has died.

It listens by itself, in a thread with an event loop of its own. Behind Serve's proxy each answer, and each piece of a
stream, is a message between two processes: a read took more than three times the CPU (docs/benchmarks.md), on the
machine that the trials may need. Serve's own way around its proxy (RAY_SERVE_ENABLE_DIRECT_INGRESS) takes switches in
the environment of whoever started the cluster.
"""

from __future__ import annotations

import threading
import time
from pathlib import Path

import uvicorn

from toprung.serve import listening
from toprung.serve.demand import slots
from toprung.serve.home import Home
from toprung.serve.http.app import close, create_app
from toprung.serve.machines import Machines
from toprung.serve.store import Store

_START_S = 30.0
_LEAVE_S = 2
"""What is being answered when the replica is told to go may take so long; a stream breaks off and is taken up again."""
_KEEP_ALIVE_S = 90
"""A connection that waits for its next request. Longer than clients keep theirs: the one that closes first can't lose
a request on its way."""
_MAX_CONNECTIONS = 1_000
"""Open at once, streams among them; who comes then gets 503 and comes again."""


class Replica:
    """Serves until Ray Serve ends it."""

    _thread: threading.Thread | None = None

    def __init__(self, home: Path, door: Path, host: str, port: int, *, auth: bool) -> None:
        """Listens when it returns.

        Args:
            home: the service's.
            door: where its process hands out the socket that it listens on (`listening.Door`).
            host: what that is bound to, for when this process is no more.
            port: of the same.
            auth: whether requests need a token.

        Raises:
            Unavailable: the store does not open, or the port is taken.
        """
        place = Home.at(home)
        self._store = Store(place.store_url)
        self._app = create_app(self._store, place.path, slots=slots, cluster=Machines(place), auth=auth)
        self._server = uvicorn.Server(
            uvicorn.Config(
                self._app,
                log_config=None,
                access_log=False,
                lifespan="off",
                ws="none",
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=_KEEP_ALIVE_S,
                timeout_graceful_shutdown=_LEAVE_S,
                limit_concurrency=_MAX_CONNECTIONS,
            )
        )
        sockets = [listening.through(door, host, port)]
        self._thread = threading.Thread(target=self._server.run, args=(sockets,), name="http", daemon=True)
        self._thread.start()
        deadline = time.monotonic() + _START_S
        while not self._server.started:
            self.check_health()
            if time.monotonic() > deadline:
                raise TimeoutError(f"the HTTP server has not started in {_START_S:g} s")
            time.sleep(0.01)

    def check_health(self) -> None:
        """Asked by Ray Serve every second.

        Raises:
            RuntimeError: the HTTP server has ended; Serve replaces the replica then.
        """
        if self._thread is None or not self._thread.is_alive():
            raise RuntimeError("the HTTP server has ended")

    def __del__(self) -> None:
        """Called by Ray Serve before it ends the replica's process."""
        if self._thread is not None:
            self._server.should_exit = True
            self._thread.join(2 * _LEAVE_S)
            close(self._app)
            self._store.close()
