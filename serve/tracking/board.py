"""TensorBoard as a process of the service: `python -m toprung.serve.tracking.board LOGDIR PREFIX SOCKET`."""

from __future__ import annotations

import sys

from tensorboard import program
from tensorboard.backend import application
from tensorboard.backend.event_processing.data_ingester import LocalDataIngester
from tensorboard.compat.tensorflow_stub import pywrap_tensorflow

from toprung.serve.sidecar import serve
from toprung.serve.tracking.crc import masked_crc32c


def main(logdir: str, prefix: str, socket: str) -> None:
    """Serves until nobody needs it."""
    pywrap_tensorflow.masked_crc32c = masked_crc32c  # else it reads 1.5 MB in a second
    board = program.TensorBoard()
    board.configure(["", "--logdir", logdir, "--path_prefix", prefix, "--load_fast", "false"])
    ingester = LocalDataIngester(board.flags)
    ingester.start()
    app = application.TensorBoardWSGIApp(
        board.flags,
        board.plugin_loaders,
        ingester.data_provider,
        board.assets_zip_provider,
        ingester.deprecated_multiplexer,
    )
    serve(app, socket)


if __name__ == "__main__":
    main(*sys.argv[1:])
