"""How much memory this process and its GPU have in use, and making some free."""

from __future__ import annotations

import gc
import re
import traceback
from pathlib import Path
from types import TracebackType

import psutil
import torch

from toprung.tuning.out_of_memory import GPU_IS_FULL, HOST_IS_FULL, says_any

MB = 2**20
_STATUS = Path("/proc/self/status")
_process = psutil.Process()


def is_out_of_memory(error: BaseException | None) -> bool:
    """Whether an exception says that memory could not be had, on a GPU or on the host."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and says_any(error, GPU_IS_FULL + HOST_IS_FULL)


def make_free(error: BaseException | None = None) -> None:
    """Lets go of all that nothing needs: what the frames of an exception hold, cycles, PyTorch's cache.

    Args:
        error: one that was caught; afterwards its traceback still shows where, but no variables.
    """
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        _clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
    gc.collect()
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def figures(device: torch.device | None = None) -> dict[str, float]:
    """Memory in use now, in MiB.

    Args:
        device: a GPU; None for the present one, if this process uses any.

    Returns:
        `rss_mb` of this process. With a GPU what PyTorch has given out (`gpu_allocated_mb`), what it holds
        (`gpu_reserved_mb`), the most it had given out since `restart_peak` (`gpu_peak_mb`), and what is free on the
        device, whoever uses the rest (`gpu_free_mb`).
    """
    found = {"rss_mb": _process.memory_info().rss / MB}
    if torch.cuda.is_initialized() and (device is None or device.type == "cuda"):
        found["gpu_allocated_mb"] = torch.cuda.memory_allocated(device) / MB
        found["gpu_reserved_mb"] = torch.cuda.memory_reserved(device) / MB
        found["gpu_peak_mb"] = torch.cuda.max_memory_allocated(device) / MB
        found["gpu_free_mb"] = torch.cuda.mem_get_info(device)[0] / MB
    return found


def in_use(device: torch.device) -> int:
    """Bytes in use where a model computes: what PyTorch has given out on a GPU, the process's own memory on the CPU.

    Not the files that are mapped, libraries above all: the kernel drops their pages and reads them again as it pleases.
    """
    on_gpu = device.type == "cuda"
    found: int = torch.cuda.memory_allocated(device) if on_gpu else _process.memory_info().rss - _of_files()
    return found


def _of_files() -> int:
    """Bytes of mapped files in memory; 0 where the system does not say (proc(5), `RssFile`)."""
    try:
        found = re.search(rb"^RssFile:\s+(\d+) kB", _STATUS.read_bytes(), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) * 1024 if found else 0


def restart_peak() -> None:
    """`gpu_peak_mb` counts from here on."""
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def cap(gpu_share: float) -> None:
    """Holds this process to its share of its GPU, so that it cannot take its neighbours' memory.

    Ray's fractions of a GPU are arithmetic only (ray#5902). A process may go beyond its share by what CUDA itself
    needs, about 0.5 GB.

    Args:
        gpu_share: as in the trial's resources; 1 or more is no share.
    """
    if 0 < gpu_share < 1 and torch.cuda.is_available():
        torch.cuda.set_per_process_memory_fraction(gpu_share)


def _clear_frames(tb: TracebackType | None) -> None:
    if tb is not None:
        traceback.clear_frames(tb)  # the frames that still run keep theirs
