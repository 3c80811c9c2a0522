"""Which lines of code made the tensors that are still there. Takes time: only where it is asked for.

On a GPU PyTorch's allocator keeps the stack of each allocation (`torch.cuda.memory._record_memory_history`: private by
its name, but what PyTorch's documentation of GPU memory tells people to use). On the CPU each operation is looked at.
"""

from __future__ import annotations

import functools
import linecache
import sys
import sysconfig
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import FrameType
from typing import Any
from weakref import finalize

import ray
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode

Line = tuple[str, int]
"""File and line of the user's code; `NO_LINE` where it is not known."""

NO_LINE: Line = ("", 0)

_OURS = tuple(str(folder) for folder in (Path(__file__).parents[1], *torch.__path__, *ray.__path__))
_LIBRARIES = tuple(sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib"))
_PRUNED_AFTER = 10_000


def line_of(frames: Iterable[Line]) -> Line:
    """The user's line among those of a stack.

    Args:
        frames: the innermost first.
    """
    found = NO_LINE
    for file, line in frames:
        whose = _whose(file)
        if whose == "user":
            return file, line
        if whose == "library" and found == NO_LINE:
            found = file, line
    return found


@functools.cache
def _whose(file: str) -> str:
    if not file or file.startswith((*_OURS, "<")):
        return "ours"
    return "library" if file.startswith(_LIBRARIES) else "user"


def in_words(line: Line) -> str:
    """With the code that stands there."""
    if line == NO_LINE:
        return "code that is not known (a backward pass, or another thread)"
    code = linecache.getline(*line).strip()
    return f"line {line[1]} of {line[0]}" + (f" ({code})" if code else "")


class CpuAllocations(TorchDispatchMode):  # type: ignore[misc]  # PyTorch is not typed here
    """As a context: notes where memory is allocated in it, by this thread."""

    def __init__(self) -> None:
        super().__init__()
        self._made: dict[int, tuple[StorageWeakRef, int, Line]] = {}
        self._pruned_at = _PRUNED_AFTER

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        line: Line | None = None
        for each in out if isinstance(out, tuple | list) else (out,):
            if type(each) is not Tensor or each.layout is not torch.strided:
                continue
            storage = each.untyped_storage()
            # what was seen before is a view; an address comes again only after the weak reference has gone
            if storage._cdata not in self._made:
                line = line or line_of(_stack(sys._getframe(1)))
                self._made[storage._cdata] = (StorageWeakRef(storage), storage.nbytes(), line)
        if len(self._made) > self._pruned_at:
            self._prune()
        return out

    def by_line(self) -> Counter[Line]:
        """Bytes that are still there."""
        self._prune()
        sizes: Counter[Line] = Counter()
        for _, size, line in self._made.values():
            sizes[line] += size
        return sizes

    def _prune(self) -> None:
        self._made = {address: made for address, made in self._made.items() if not made[0].expired()}
        self._pruned_at = len(self._made) + _PRUNED_AFTER


class GpuAllocations:
    """PyTorch's record of a GPU's allocations, from now on until nobody has this object any more."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        torch.cuda.memory._record_memory_history("state", context="state", stacks="python")
        finalize(self, torch.cuda.memory._record_memory_history, None).atexit = False

    def __enter__(self) -> None:
        """It is on all the time."""

    def __exit__(self, *error: object) -> None:
        """It goes on."""

    def by_line(self) -> Counter[Line]:
        """Bytes that are still there."""
        sizes: Counter[Line] = Counter()
        for segment in torch.cuda.memory._snapshot(self._device)["segments"]:
            for block in segment["blocks"]:
                if block["state"] == "active_allocated":
                    line = line_of((frame["filename"], frame["line"]) for frame in block.get("frames", ()))
                    sizes[line] += block["size"]
        return sizes


Allocations = CpuAllocations | GpuAllocations


def recorder(device: torch.device) -> Allocations:
    """For what is computed on a device."""
    return GpuAllocations(device) if device.type == "cuda" else CpuAllocations()


def _stack(frame: FrameType | None) -> Iterable[Line]:
    while frame is not None:
        yield frame.f_code.co_filename, frame.f_lineno
        frame = frame.f_back
