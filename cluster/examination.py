"""What a node is asked in a check-up, answered on the node itself.

This module is sent there by value (`doctor.py`): a node whose Toprung is another, or not there, answers too. So it uses
the standard library and Ray alone, and answers in plain dicts and lists.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import platform
import resource
import runpy
import shutil
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

PACKAGES = ("ray", "torch", "toprung", "optuna")
_CONNECT_S = 3.0
FAULTS = (OSError, ValueError)
"""What a file system raises; pyarrow's word for a wrong URI is a ValueError."""


class Examiner:
    """An actor without resources, one on each node."""

    def vitals(self, session: str, folders: Sequence[str]) -> dict[str, Any]:
        """The fields of `Vitals`.

        Args:
            session: the folder of Ray's session.
            folders: others whose disks are looked at, where they are there.
        """
        return {
            "python": platform.python_version(),
            "packages": {name: _version(name) for name in PACKAGES},
            "cuda": _cuda_of_torch(),
            **_gpus(),
            "session": _disk(session),
            "disks": {folder: _disk(folder) for folder in folders if os.path.isdir(folder)},
            "shm_bytes": shutil.disk_usage("/dev/shm").total if os.path.isdir("/dev/shm") else None,
            "num_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        }

    def clock(self) -> float:
        """Unix time."""
        return time.time()

    def exchange(self, place: str, theirs: str, own: str) -> str | None:
        """Reads in a shared place what another node has written, and writes for it.

        Returns:
            What went wrong; None: nothing.
        """
        if "://" not in place and not os.path.isdir(place):
            return "a folder that the head has just made is not there"
        try:
            write(place, own)
        except FAULTS as error:
            return f"it can't be written: {reason(error)}"
        try:
            return None if has(place, theirs) else "what the head has just written reads otherwise"
        except FAULTS as error:
            return f"what the head has just written can't be read: {reason(error)}"

    def unreachable(self, peers: Mapping[str, Sequence[int]]) -> list[str]:
        """The `address:port` that can't be connected to."""
        return [
            f"{address}:{port}" for address, ports in peers.items() for port in ports if not _answers(address, port)
        ]


def write(place: str, word: str) -> None:
    """Writes a file of this name and content in a folder, or in one of a bucket.

    Raises:
        OSError, ValueError: it can't be done.
    """
    filesystem, path = _file_system(place)
    if filesystem is None:
        Path(path, word).write_text(word)
        return
    with filesystem.open_output_stream(f"{path}/{word}") as file:
        file.write(word.encode())


def has(place: str, word: str) -> bool:
    """Whether what `write` has written is there.

    Raises:
        OSError, ValueError: it is not there, or can't be read.
    """
    filesystem, path = _file_system(place)
    if filesystem is None:
        return Path(path, word).read_text() == word
    with filesystem.open_input_stream(f"{path}/{word}") as file:
        return bool(file.read() == word.encode())


def make(place: str) -> None:
    """Makes a folder in one that is there.

    Raises:
        OSError, ValueError: it can't be done.
    """
    filesystem, path = _file_system(place)
    if filesystem is None:
        Path(path).mkdir()


def remove(place: str) -> None:
    """Removes a folder with what is in it, as far as that can be done."""
    with contextlib.suppress(*FAULTS):
        filesystem, path = _file_system(place)
        if filesystem is None:
            shutil.rmtree(path, ignore_errors=True)
        else:
            filesystem.delete_dir(path)


def inside(place: str, name: str) -> str:
    """The path or URI of a folder in another one; what a URI says after `?` holds for all below."""
    base, mark, options = place.partition("?")
    return f"{base}/{name}{mark}{options}"


def reason(error: Exception) -> str:
    """What a file system says."""
    return getattr(error, "strerror", None) or str(error)


def _file_system(place: str) -> tuple[Any, str]:
    """Pyarrow's for what is in a bucket, None for this machine's; and the path on it."""
    if "://" not in place:
        return None, place
    from pyarrow import fs  # noqa: PLC0415  takes a second to load

    base, mark, options = place.partition("?")
    scheme, _, path = base.partition("://")
    return fs.FileSystem.from_uri(f"{scheme}://{path.partition('/')[0]}{mark}{options}")[0], path


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cuda_of_torch() -> str | None:
    """Read from the file that says it: PyTorch itself takes seconds to load, and memory."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return None
    with contextlib.suppress(Exception):  # of another shape in some future version: then nobody knows
        found = runpy.run_path(os.path.join(spec.submodule_search_locations[0], "version.py"))
        return found.get("cuda")
    return None


def _disk(folder: str) -> dict[str, int]:
    usage = shutil.disk_usage(folder)
    return {"total_bytes": usage.total, "free_bytes": usage.free}


def _gpus() -> dict[str, Any]:
    """By NVML, through the copy of its Python module that Ray counts GPUs with."""
    from ray._private.thirdparty import pynvml  # noqa: PLC0415  only there is it sure to be

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return {"gpus": None}
    try:
        names, faults = [], []
        for index in range(pynvml.nvmlDeviceGetCount()):
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                pynvml.nvmlDeviceGetMemoryInfo(handle)  # one that fell off the bus has a handle, and no memory
                names.append(_text(pynvml.nvmlDeviceGetName(handle)))
            except pynvml.NVMLError as error:
                faults.append(f"GPU {index}: {error}")
        cuda = pynvml.nvmlSystemGetCudaDriverVersion_v2()
        return {
            "gpus": names,
            "gpu_faults": faults,
            "driver": _text(pynvml.nvmlSystemGetDriverVersion()),
            "driver_cuda": f"{cuda // 1000}.{cuda % 1000 // 10}",
        }
    except pynvml.NVMLError as error:
        return {"gpus": [], "gpu_faults": [f"NVML: {error}"]}
    finally:
        pynvml.nvmlShutdown()


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _answers(address: str, port: int) -> bool:
    try:
        socket.create_connection((address, port), _CONNECT_S).close()
    except OSError:
        return False
    return True
