"""Tracebacks as users read them: their own frames, with the paths that they know."""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterable
from types import TracebackType

_PACKAGE_FOLDER = re.compile(r"/[^\"\n]*/working_dir_files/_ray_pkg_\w+/")
"""Where Ray unpacks a sweep's code."""

_LIBRARY_PARTS = ("-packages/ray/", "/toprung/tuning/run/", "/toprung/tuning/torch/distributed.py")
_ENDS = '"""'
"""The line after a traceback of another process, such as a worker of the trial; `multiprocessing` writes the same."""


def user_traceback(error: BaseException) -> Iterable[str]:
    """The lines of a traceback without the frames of Ray and Toprung above the user's code.

    Where a worker of the trial raised it, that worker's traceback.
    """
    in_worker = getattr(error.__cause__, "in_worker", None)
    if in_worker is not None:
        return [user_part(in_worker) or in_worker]
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None and _is_library(frame):
        frame = frame.tb_next
    return [_PACKAGE_FOLDER.sub("", line) for line in traceback.format_exception(type(error), error, frame)]


def user_part(text: str) -> str | None:
    """The same for a traceback that is text alone, as Ray keeps it of another process; None: no frame is the user's."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if line.startswith('  File "') and not any(part in line for part in _LIBRARY_PARTS):
            end = lines.index(_ENDS, index) if _ENDS in lines[index:] else None
            own = "\n".join(["Traceback (most recent call last):", *lines[index:end]])
            return _PACKAGE_FOLDER.sub("", own) + "\n"
    return None


def _is_library(frame: TracebackType) -> bool:
    name = frame.tb_frame.f_code.co_filename
    return any(part in name for part in _LIBRARY_PARTS)
