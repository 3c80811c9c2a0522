"""What a worker of a trial prints, kept until the trial asks for it. Light: it loads nothing."""

from __future__ import annotations

import io
import sys
import threading

_lock = threading.Lock()
_said: list[str] = []


class _Collector(io.TextIOBase):
    def write(self, text: str) -> int:
        with _lock:
            _said.append(text)
        return len(text)


def collect() -> None:
    """From now on what this process prints is kept."""
    sys.stdout = sys.stderr = _Collector()


def take(all_of_it: bool) -> str:
    """What has been printed since the last call, up to the end of its last line.

    Args:
        all_of_it: also a line that has no end yet.
    """
    with _lock:
        text = "".join(_said)
        end = len(text) if all_of_it else text.rfind("\n") + 1
        _said[:] = [text[end:]]
    return text[:end]
