"""What writes to a disk that is full, or asks a store that does not answer, waits until it can."""

from __future__ import annotations

import errno
import functools
import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

from ray.train._internal.storage import StorageContext

T = TypeVar("T")

_PAUSE_S = 1.0
_AWAY = ("NETWORK_CONNECTION", "SERVICE_UNAVAILABLE", "SLOW_DOWN", "INTERNAL_FAILURE", "REQUEST_TIMEOUT")
"""What Arrow calls it when an object store has no time for us, after having tried for some seconds."""


def once_there_is_room(write: Callable[[], T], say: Callable[[str], None]) -> T:
    """Calls `write` until it doesn't find the disk full, or the store away.

    Args:
        write: may be called again.
        say: is told once that it waits.
    """
    told = False
    while True:
        try:
            return write()
        except OSError as error:
            why = _passes(error)
            if why is None:
                raise
            if not told:
                say(f"{why}: {error}")
                told = True
            time.sleep(_PAUSE_S)


def _passes(error: OSError) -> str | None:
    """What is waited for; None where waiting doesn't help."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full, waiting for room"
    return "the storage does not answer, waiting for it" if any(word in str(error) for word in _AWAY) else None


def let_checkpoints_wait() -> None:
    """From now on a trial in this process whose checkpoint can't be saved waits, instead of failing."""
    save = StorageContext.persist_current_checkpoint

    @functools.wraps(save)
    def patient(self: StorageContext, checkpoint: Any) -> Any:
        return once_there_is_room(lambda: save(self, checkpoint), _tell_log)

    StorageContext.persist_current_checkpoint = patient


def _tell_log(text: str) -> None:
    sys.stderr.write(f"toprung: {text}\n")
