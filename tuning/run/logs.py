"""What a trial prints, on its way to the service.

A worker process runs one trial after the other. `TrialOutput` puts itself in front of `sys.stdout` and `sys.stderr`
once and sends on what comes, keyed by trial, attempt and offset, so that sending twice writes once.
"""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable
from typing import TextIO

Sink = Callable[[int, int, int, bytes], None]
"""(number, attempt, offset in bytes, data) -> None, returning when it is written."""

_INTERVAL_S = 0.5
_LIMIT_BYTES = 16 * 1024 * 1024
_CUT = b"\n[log cut: more than 16 MiB]\n"


class TrialOutput:
    """Collects and sends the output of the trial that runs in this process.

    Args:
        sink: writes one piece; an exception means "not written", and the piece is sent again.
    """

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._wake = threading.Event()
        self._tried = threading.Event()
        self._buffer = bytearray()
        self._offset = 0
        self._number: int | None = None
        self._attempt = 0
        sys.stdout = _Tee(sys.stdout, self)
        sys.stderr = _Tee(sys.stderr, self)
        threading.Thread(target=self._loop, name="trial-output", daemon=True).start()

    def attach(self, number: int, attempt: int) -> None:
        """From now on, output belongs to this attempt."""
        self.flush()
        with self._lock:
            self._buffer.clear()
            self._offset = 0
            self._number, self._attempt = number, attempt

    def write(self, text: str) -> None:
        with self._lock:
            if self._number is None or self._offset + len(self._buffer) >= _LIMIT_BYTES:
                return
            data = text.encode("utf-8", "replace")
            room = _LIMIT_BYTES - self._offset - len(self._buffer)
            self._buffer += data if len(data) < room else data[:room] + _CUT

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
                return
            with self._lock:
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


class _Tee(io.TextIOBase):
    """Writes to the original stream and to the trial's output."""

    def __init__(self, original: TextIO, output: TrialOutput) -> None:
        self._original = original
        self._output = output

    def write(self, text: str) -> int:
        self._output.write(text)
        return self._original.write(text)

    def flush(self) -> None:
        self._original.flush()

    def fileno(self) -> int:
        return self._original.fileno()

    def isatty(self) -> bool:
        return False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._original.encoding
