"""Programs with pages of their own, TensorBoards above all: each a process, started when somebody first asks for it."""

from __future__ import annotations

import logging
import selectors
import shutil
import subprocess
import sys
import tempfile
import threading
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from toprung.errors import Unavailable

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Program:
    """What is started: a module with the arguments FOLDER PREFIX SOCKET (`toprung.serve.sidecar`)."""

    module: str
    name: str


TENSORBOARD = Program("toprung.serve.tracking.board", "TensorBoard")
_MAX = 4
"""At once: each has 200 MB or more. Who wants a fifth gets the place of the one that was not asked for longest."""
_READY_S = 60.0
"""TensorBoard takes seconds; what has not started by then hangs."""
_END_S = 5.0


class LiveBoards:
    """Starts them, each with a folder and a place below the service's URL, and ends them.

    Args:
        folder: where their processes run: an empty one, so that nothing is imported from there.
        ready_s: how long each may take to start.
    """

    def __init__(self, folder: Path, ready_s: float = _READY_S) -> None:
        self._folder = folder
        self._ready_s = ready_s
        self._lock = threading.Lock()
        self._boards: OrderedDict[str, _Board] = OrderedDict()

    def socket_of(self, prefix: str, logdir: Path, program: Program = TENSORBOARD) -> str:
        """The Unix socket of the program of a folder. One that has died is started again. Takes seconds.

        Args:
            prefix: what the paths of its pages begin with.
            logdir: what it shows; it may come to be later.

        Raises:
            Unavailable: it does not start.
        """
        with self._lock:
            board = self._boards.get(prefix)
            if board is None or not board.alive:
                if board is not None:
                    self._boards.pop(prefix).end()
                while len(self._boards) >= _MAX:
                    self._boards.popitem(last=False)[1].end()
                board = self._boards[prefix] = _Board(prefix, logdir, self._folder, program)
            self._boards.move_to_end(prefix)
        board.wait_ready(self._ready_s)
        return board.socket

    def close(self) -> None:
        """Ends them all."""
        with self._lock:
            while self._boards:
                self._boards.popitem()[1].end()


def _says_something(stdout: IO[bytes], longest_s: float) -> bool:
    """Waits for a line, or the end; not by `select.select`, which takes no file above 1,024: a replica has more."""
    with selectors.DefaultSelector() as selector:
        selector.register(stdout, selectors.EVENT_READ)
        return bool(selector.select(longest_s))


class _Board:
    def __init__(self, prefix: str, logdir: Path, folder: Path, program: Program) -> None:
        self._name = program.name
        # of this user alone, and short enough: the path of a socket has 107 characters at most
        self._own = Path(tempfile.mkdtemp(prefix="toprung-tb-"))
        self.socket = f"{self._own}/s"
        self._starting = threading.Lock()
        self._is_ready = False
        command = [sys.executable, "-P", "-m", program.module, str(logdir), prefix, self.socket]
        with (self._own / "log").open("wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, cwd=folder
            )

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def wait_ready(self, longest_s: float) -> None:
        """Raises:
        Unavailable: it ended instead, or hung and was ended.
        """
        assert self._process.stdout is not None
        with self._starting:
            if self._is_ready:
                return
            if not _says_something(self._process.stdout, longest_s):
                logger.error("%s is not ready after %.0f s and is ended", self._name, longest_s)
                self._process.kill()
                self._process.wait()  # the next request starts another
            elif self._process.stdout.readline():
                self._is_ready = True
                return
            with suppress(OSError):
                said = (self._own / "log").read_text(errors="replace")[-2000:]
                logger.error("%s did not start: %s", self._name, said)
        raise Unavailable(f"{self._name} did not start; the log of the service's replica says why.")

    def end(self) -> None:
        """Ends the process, if it hasn't, and removes what it leaves."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        shutil.rmtree(self._own, ignore_errors=True)
