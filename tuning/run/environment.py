"""In what surroundings a worker runs its trials, and the way of that to the runner.

It goes with the first result of an attempt, or on the exception of one that has none: no call is made for it.
"""

from __future__ import annotations

import contextlib
import functools
import os
import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from toprung.tuning.records import RunEnvironment

_KEY = "__toprung_note__"
"""Where a note is in a result, or an exception."""


class AttemptNote(NamedTuple):
    """What is told of an attempt."""

    seed: int
    environment: str
    """A `RunEnvironment` as JSON."""

    def put_into(self, result: dict[str, Any]) -> None:
        result[_KEY] = self

    def put_onto(self, error: BaseException) -> None:
        """For an attempt without a result."""
        with contextlib.suppress(Exception):  # its class may take no attributes; the failure is what counts
            setattr(error, _KEY, self)


def note_of(seed: int, has_gpu: bool) -> AttemptNote:
    """The note of an attempt in this process."""
    return AttemptNote(seed, surroundings(has_gpu).model_dump_json())


def taken_from(result: dict[str, Any]) -> AttemptNote | None:
    """The note in a result, which doesn't have it any more: Tune keeps a result of each trial."""
    note: AttemptNote | None = result.pop(_KEY, None)
    return note


def carried_by(error: BaseException) -> AttemptNote | None:
    """The note on an exception."""
    note: AttemptNote | None = getattr(error, _KEY, None)
    return note


def surroundings(has_gpu: bool) -> RunEnvironment:
    """Those of this process.

    Args:
        has_gpu: whether its trials have a part of one.
    """
    return RunEnvironment(
        python=platform.python_version(),
        platform=_platform(),
        cpu=_cpu(),
        omp_num_threads=os.environ.get("OMP_NUM_THREADS"),
        driver=_driver() if has_gpu else None,
        packages=installed(tuple(sys.path)),
        **_of_torch(),
    )


def _of_torch() -> dict[str, Any]:
    """What PyTorch says, where the trial uses it."""
    torch: Any = sys.modules.get("torch")
    found: dict[str, Any] = {}
    if torch is None:
        return found
    with contextlib.suppress(Exception):  # no trial fails of this, nor hides it what one failed of
        found["torch_threads"] = torch.get_num_threads()
        found["cuda"] = torch.version.cuda
        # before it has used a GPU, asking for one would take memory there
        if torch.cuda.is_initialized():
            found["gpus"] = tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    return found


@functools.cache
def installed(path: tuple[str, ...]) -> dict[str, str]:
    """Versions of the packages that are installed on `path`, by name; of two of one name the one that is imported.

    By the names of their folders, `name-version.dist-info` (PyPA's specification "Recording installed projects").
    `importlib.metadata` opens a file of each: 0.2 s for 161 packages, where a first note in all takes 0.02 s.
    """
    found: dict[str, str] = {}
    for folder in path:
        for entry in _listed(folder):
            name, dash, version = entry.removesuffix(".dist-info").partition("-")
            if dash and entry.endswith(".dist-info"):
                found.setdefault(name.lower().replace("_", "-").replace(".", "-"), version)
    return dict(sorted(found.items()))


def _listed(folder: str) -> Iterable[str]:
    with contextlib.suppress(OSError):  # zip files and missing folders are on the path, too
        return os.listdir(folder or ".")
    return ()


@functools.cache
def _platform() -> str:
    return platform.platform()


@functools.cache
def _cpu() -> str | None:
    """The processor's model: on Linux the kernel's word, elsewhere what Python knows."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or None


@functools.cache
def _driver() -> str | None:
    try:
        return driver_version(Path("/proc/driver/nvidia/version").read_text())
    except OSError:
        return None


def driver_version(text: str) -> str | None:
    """The version in what NVIDIA's kernel module says of itself."""
    words = text.partition("Kernel Module")[2].split()
    return next((word for word in words if word[0].isdigit()), None)
