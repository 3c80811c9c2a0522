"""What a trial prints, on its way to the service.

`TrialOutput` puts itself in front of `sys.stdout` and `sys.stderr` once, and sends on what comes.
"""

from __future__ import annotations

import io
import sys
from typing import TextIO

from toprung.tuning.run.shipping import Shipping, Sink

_LIMIT_BYTES = 16 * 1024 * 1024
_CUT = b"\n[log cut: more than 16 MiB]\n"


class TrialOutput(Shipping):
    """The output of the trial that runs in this process. There is one for each process."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink, "trial-output")
        sys.stdout = _Tee(sys.stdout, self)
        sys.stderr = _Tee(sys.stderr, self)

    def attach(self, number: int, attempt: int) -> None:
        """From now on, output belongs to this attempt."""
        self.flush()
        self.begin(number, attempt)

    def write(self, text: str) -> None:
        with self._lock:
            if self._number is None or self._offset + len(self._buffer) >= _LIMIT_BYTES:
                return
            data = text.encode("utf-8", "replace")
            room = _LIMIT_BYTES - self._offset - len(self._buffer)
            self._buffer += data if len(data) < room else data[:room] + _CUT


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
