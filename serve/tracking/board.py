"""TensorBoard as a process of the service: `python -m toprung.serve.tracking.board LOGDIR PREFIX SOCKET`.

It answers on a Unix socket, which only its user can reach: TensorBoard itself asks nobody who he is. It says a line
when it is ready, and ends when nobody has asked for anything for half an hour, or its standard input is closed, which
happens however the process that started it ends.
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

from tensorboard import program
from tensorboard.backend import application
from tensorboard.backend.event_processing.data_ingester import LocalDataIngester
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow
from werkzeug.serving import WSGIRequestHandler, make_server

from toprung.serve.tracking.crc import masked_crc32c

_IDLE_S = 30 * 60.0


class _Quiet(WSGIRequestHandler):
    def log_request(self, *args: Any) -> None:
        """No line for each."""


class _Watched:
    """A WSGI application that knows when it was last asked."""

    def __init__(self, app: Callable[..., Iterable[bytes]]) -> None:
        self._app = app
        self.asked_at = time.monotonic()

    def __call__(self, *args: Any) -> Iterable[bytes]:
        self.asked_at = time.monotonic()
        return self._app(*args)


def main(logdir: str, prefix: str, socket: str) -> None:
    """Serves until nobody needs it."""
    pywrap_tensorflow.masked_crc32c = masked_crc32c  # else it reads 1.5 MB in a second
    board = program.TensorBoard()
    board.configure(["", "--logdir", logdir, "--path_prefix", prefix, "--load_fast", "false"])
    ingester = LocalDataIngester(board.flags)
    ingester.start()
    app = _Watched(
        application.TensorBoardWSGIApp(
            board.flags,
            board.plugin_loaders,
            ingester.data_provider,
            board.assets_zip_provider,
            ingester.deprecated_multiplexer,
        )
    )
    server = make_server(f"unix://{socket}", 0, app, threaded=True, request_handler=_Quiet)
    threading.Thread(target=_leave, args=(app, Path(socket).parent), daemon=True).start()
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


if __name__ == "__main__":
    main(*sys.argv[1:])
