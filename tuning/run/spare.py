"""What a runner and a worker do while they wait for a sweep: what takes seconds.

A spare runner works in an empty folder of its own, which Ray knows as the `working_dir` of the runner and its trials.
The code of the sweep that comes is unpacked there, so it is found where Ray would have put it. While the spare waits, a
file lies in the folder: a worker that starts then is the one that waits for the first trial.
"""

from __future__ import annotations

import fcntl
import importlib
import logging
import os
import tempfile
import threading
from pathlib import Path
from typing import IO

import ray
from ray._private.ray_constants import WORKER_PROCESS_SETUP_HOOK_ENV_VAR
from ray._private.runtime_env.packaging import unzip_package

logger = logging.getLogger(__name__)

SPARE_ENV = {WORKER_PROCESS_SETUP_HOOK_ENV_VAR: f"{__name__}.prepare_worker"}
"""Environment of a spare runner and its trials, beside that of every runner: Ray calls this function in each worker."""

_WAITING = Path(".toprung-spare")
"""In the working directory; the runner holds a lock on it as long as it lives."""

_lock: IO[str] | None = None
_threads_are_open = False
"""Whether this process loaded PyTorch for one thread, as nothing said for how many."""


def prepare_runner() -> None:
    """Loads what nearly every trainable imports, as the runner imports the trainable too, and what a sweep uses."""
    from toprung.tuning.run.warmup import warm_up  # noqa: PLC0415  workers load this module too

    importlib.import_module("torch")
    warm_up()


def start_worker() -> None:
    """Asks Ray for a worker like those of trials; the first trial is given it."""
    from toprung.tuning.run.prestart import prestart  # noqa: PLC0415

    global _lock
    _lock = _WAITING.open("w")
    fcntl.flock(_lock, fcntl.LOCK_EX)
    try:
        prestart()
    except Exception:  # then the first trial takes longer to start
        logger.exception("no worker could be started in advance")


def move_in(code: bytes | None) -> None:
    """The sweep has come: its code takes the place of the waiting file."""
    _WAITING.unlink(missing_ok=True)
    if code is not None:
        with tempfile.NamedTemporaryFile(suffix=".zip") as file:
            file.write(code)
            file.flush()
            unzip_package(file.name, os.getcwd(), remove_top_level_directory=False, unlink_zip=False)
        importlib.invalidate_caches()


def prepare_worker() -> None:
    """What Ray calls in each worker of a spare: only the one that was started in advance has something to do."""
    global _threads_are_open
    try:
        lock = _WAITING.open()
    except FileNotFoundError:
        return
    threading.Thread(target=_leave_with_the_runner, args=(lock,), daemon=True).start()
    importlib.import_module("toprung.tuning.run.trainable")
    ray._private.worker.global_worker.get_serialization_context()
    # PyTorch reads it now; Ray sets it to the CPUs of a trial when that comes, where nobody else has set it
    _threads_are_open = "OMP_NUM_THREADS" not in os.environ
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    importlib.import_module("torch")
    if _threads_are_open:
        del os.environ["OMP_NUM_THREADS"]


def settle_threads() -> None:
    """For the first trial of a process: PyTorch may have been loaded before the trial's CPUs were known."""
    if not _threads_are_open:
        return
    torch = importlib.import_module("torch")
    if torch.get_num_threads() == 1:  # else the user's module has set it
        torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))


def _leave_with_the_runner(lock: IO[str]) -> None:
    fcntl.flock(lock, fcntl.LOCK_SH)
    os._exit(0)
