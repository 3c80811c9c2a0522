"""What a trial leaves behind as a stream of bytes, on its way to the service: what it prints, its summaries.

A worker process runs one trial after the other. Pieces are keyed by trial, attempt and offset, so that sending twice
writes once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

Sink = Callable[[int, int, int, bytes], None]
"""(number, attempt, offset in bytes, data) -> None, returning when it is written."""

_INTERVAL_S = 0.5


class Shipping:
    """Collects the bytes of the trial that runs in this process, and sends them from a thread of its own.

    Args:
        sink: writes one piece; an exception means "not written", and the piece is sent again.
        name: of the thread.
    """

    def __init__(self, sink: Sink, name: str) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._wake = threading.Event()
        self._tried = threading.Event()
        self._buffer = bytearray()
        self._offset = 0
        self._number: int | None = None
        self._attempt = 0
        self._failed = False
        threading.Thread(target=self._loop, name=name, daemon=True).start()

    def begin(self, number: int, attempt: int) -> None:
        """From now on, what comes belongs to this attempt. What the last one has left to send is dropped."""
        with self._lock:
            self._buffer.clear()
            self._offset = 0
            self._number, self._attempt = number, attempt

    def flush(self) -> None:
        """Sends what is there; what could not be sent stays for the next time."""
        with self._sending:
            with self._lock:
                if self._number is None or not self._buffer:
                    return
                number, attempt, offset, data = self._number, self._attempt, self._offset, bytes(self._buffer)
            try:
                self._sink(number, attempt, offset, data)
            except Exception:
                self._failed = True
                return
            self._failed = False
            with self._lock:
                if (self._number, self._attempt) == (number, attempt):
                    del self._buffer[: len(data)]
                    self._offset += len(data)

    def flush_within(self, timeout_s: float) -> None:
        """The same in the background; waits so long for it."""
        deadline = time.monotonic() + timeout_s
        while self._buffer and (left_s := deadline - time.monotonic()) > 0:
            self._tried.clear()
            self._wake.set()
            self._tried.wait(left_s)

    def _loop(self) -> None:
        while True:
            self._wake.wait(_INTERVAL_S)
            self._wake.clear()
            self.flush()
            self._tried.set()
