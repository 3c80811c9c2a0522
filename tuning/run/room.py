"""What writes to a disk that is full waits until there is room."""

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


def once_there_is_room(write: Callable[[], T], say: Callable[[str], None]) -> T:
    """Calls `write` until it doesn't find the disk full.

    Args:
        write: may be called again.
        say: is told once that it waits.
    """
    told = False
    while True:
        try:
            return write()
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            if not told:
                say(f"the disk is full, waiting for room: {error}")
                told = True
            time.sleep(_PAUSE_S)


def let_checkpoints_wait() -> None:
    """From now on a trial in this process whose checkpoint can't be saved waits, instead of failing."""
    save = StorageContext.persist_current_checkpoint

    @functools.wraps(save)
    def patient(self: StorageContext, checkpoint: Any) -> Any:
        return once_there_is_room(lambda: save(self, checkpoint), _tell_log)

    StorageContext.persist_current_checkpoint = patient


def _tell_log(text: str) -> None:
    sys.stderr.write(f"toprung: {text}\n")
