"""Toprung's half of overhead.py: the real service, through its HTTP client."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from toprung import Client
from toprung.tuning.records import TrialState

HERE = Path(__file__).parent
START_S, STOP_S, SETTLE_S = 180, 60, 90


def sweep(client: Client, service: psutil.Process, function: str, trials: int, **constants: int) -> dict[str, Any]:
    """Runs one sweep. Returns what bare_ray.fit does: results and ends count when they are committed to the store.

    `first_result` is when the first has arrived here.
    """
    spec = {
        "name": function.replace("_", "-"),
        "trainable": f"noop:{function}",
        "metric": {"name": "value", "goal": "minimize"},
        "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}, **constants},
        "search": {"algorithm": "random"},
        "scheduler": {"type": "none"},
        "budget": {"trials": trials},
        "concurrency": 2,
        "resources": {"cpu": 1},
    }
    submitted = time.time()
    handle = client.submit(spec, code=HERE / "trainables")
    seen: dict[str, Any] = {
        "submitted": submitted,
        "results": [],
        "ends": [],
        "driver_cpu_s": 0.0,
        "driver_rss_mb": 0.0,
    }
    runner = cpu_before = None
    for event in handle.events():
        if event.type == "trial.results":
            seen.setdefault("first_result", time.time())
            seen["results"] += [event.at.timestamp()] * int(event.data["count"])
        if event.type == "trial.state" and event.data["state"] == TrialState.COMPLETED:
            seen["ends"].append(event.at.timestamp())
        runner = runner or runner_of(service)
        with suppress(psutil.Error, AttributeError):
            times = runner.cpu_times()
            cpu_before = times.user + times.system if cpu_before is None else cpu_before
            seen["driver_cpu_s"] = times.user + times.system - cpu_before
            seen["driver_rss_mb"] = max(seen["driver_rss_mb"], runner.memory_info().rss / 2**20)
    record = handle.refresh()
    if len(seen["ends"]) != trials:
        sys.exit(f"{record.name} ended {record.state} with {len(seen['ends'])} of {trials}: {record.reason}")
    return seen


def runner_of(service: psutil.Process) -> psutil.Process | None:
    """The process that drives the sweep, as bare Ray Tune's driver does."""
    for process in service.children(recursive=True):
        with suppress(psutil.Error):
            if (
                "RunnerActor" in "".join(process.cmdline()[:1])
                and not (Path(process.cwd()) / ".toprung-spare").exists()
            ):
                return process
    return None


def settle(service: psutil.Process, cores: float = 0.15) -> None:
    """Waits until the service takes less than so many cores: it prepares for the next sweep."""
    deadline = time.monotonic() + SETTLE_S
    time.sleep(3)
    while time.monotonic() < deadline:
        before = cpu_of(service)
        time.sleep(2)
        after = cpu_of(service)
        if sum(used - before.get(pid, 0.0) for pid, used in after.items()) < 2 * cores:
            return


def cpu_of(service: psutil.Process) -> dict[int, float]:
    used = {}
    for process in service.children(recursive=True):
        with suppress(psutil.Error):
            times = process.cpu_times()
            used[process.pid] = times.user + times.system
    return used


class Started(NamedTuple):
    url: str
    process: psutil.Process
    home: Path


@contextmanager
def started(num_cpus: int = 2) -> Iterator[Started]:
    """`toprung up` in a home of its own, gone afterwards.

    Args:
        num_cpus: how many Ray counts, whatever the machine has.
    """
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "toprung.serve", "--home", folder, "--port", str(port)]
        command += ["--num-cpus", str(num_cpus)]
        with (home / "service.log").open("wb") as log:
            process = psutil.Popen(command, stdout=log, stderr=log, start_new_session=True)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the service ends with who is told to
        try:
            yield Started(wait_for_url(home, process), process, home)
        finally:
            stop(process)


def wait_for_url(home: Path, process: psutil.Popen) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if (home / "service.json").exists():
            return str(json.loads((home / "service.json").read_text())["url"])
        if process.poll() is not None:
            break
        time.sleep(0.05)
    log = (home / "service.log").read_text(errors="replace")
    sys.exit(f"the service did not start within {START_S} s; its log ends with:\n{log[-2000:]}")


def stop(process: psutil.Popen) -> None:
    if process.poll() is not None:  # it could not even start
        return
    left = [process, *process.children(recursive=True)]
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
        for each in left:
            with suppress(psutil.Error):
                each.kill()
