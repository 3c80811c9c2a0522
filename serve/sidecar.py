"""A WSGI application as a process of the service, for what would stand in the API's way in its own.

It answers on a Unix socket, which only its user can reach: who may ask is the service's to know. It says a line when it
is ready, and ends when nobody has asked for anything for half an hour, or its standard input is closed, which happens
however the process that started it ends.
"""

from __future__ import annotations

import os
import select
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from werkzeug.serving import WSGIRequestHandler, make_server

_IDLE_S = 30 * 60.0

WsgiApp = Callable[..., Iterable[bytes]]


class _Quiet(WSGIRequestHandler):
    def log_request(self, *args: Any) -> None:
        """No line for each."""


class _Watched:
    """A WSGI application that knows when it was last asked."""

    def __init__(self, app: WsgiApp) -> None:
        self._app = app
        self.asked_at = time.monotonic()

    def __call__(self, *args: Any) -> Iterable[bytes]:
        self.asked_at = time.monotonic()
        return self._app(*args)


def serve(app: WsgiApp, socket: str) -> None:
    """Serves until nobody needs it."""
    watched = _Watched(app)
    server = make_server(f"unix://{socket}", 0, watched, threaded=True, request_handler=_Quiet)
    threading.Thread(target=_leave, args=(watched, Path(socket).parent), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    server.serve_forever()


def _leave(app: _Watched, folder: Path) -> None:
    """Ends the process when it is time."""
    while (left_s := app.asked_at + _IDLE_S - time.monotonic()) > 0:
        if select.select([sys.stdin], [], [], left_s)[0]:
            break
    shutil.rmtree(folder, ignore_errors=True)
    os._exit(0)
