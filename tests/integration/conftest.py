"""One real service on one real local Ray, shared by the session's tests."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import httpx
import psutil
import pytest

from toprung import Client
from toprung.client import SweepHandle

HERE = Path(__file__).parent
START_S = 240.0
WAIT_S = 120.0

T = TypeVar("T")


def until(condition: Callable[[], T], *, timeout_s: float = 60.0, what: str = "the condition") -> T:
    """Waits until `condition()` is true and returns its value."""
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"{what} did not come true in {timeout_s:g} s"
        time.sleep(0.05)
    return value


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Service:
    """A service process of our own, as `toprung up` starts it.

    Args:
        home: its folder.
        extra: further arguments.
        within: a command that becomes the service's process, which it gets as its arguments.
        port: where it listens; a free one if none is given.
    """

    def __init__(self, home: Path, *extra: str, within: Sequence[str] = (), port: int | None = None) -> None:
        self.home = home
        self.port = port or free_port()
        self.log = home.parent / f"{home.name}.log"
        # started where a user's own code lies: nothing must be imported from there
        elsewhere = home.parent / f"{home.name}-started-in"
        elsewhere.mkdir(exist_ok=True)
        for name in ("trainables.py", "queue.py"):
            (elsewhere / name).write_text("raise AssertionError('imported from where the service was started')")
        command = [sys.executable, "-P", "-m", "toprung.serve", "--home", str(home), "--port", str(self.port), *extra]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*within, *command], stdout=log, stderr=log, start_new_session=True, env=self._env(), cwd=elsewhere
            )
        self.client = Client(self.url)
        try:
            until(self._ready, timeout_s=START_S, what="the service")
        except BaseException:
            self.kill()  # else the next test has it beside its own
            raise

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def kill(self) -> None:
        """All its processes, as when its machine is switched off."""
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended by itself
            service = psutil.Process(self.process.pid)
            for process in [service, *service.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    process.kill()
        self.process.wait()
        self.client.close()

    def stop(self) -> None:
        self.client.close()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()[-3000:]
        try:
            return (self.home / "service.json").exists() and httpx.get(f"{self.url}/readyz").status_code == 200
        except httpx.TransportError:
            return False

    def _env(self) -> dict[str, str]:
        return {**os.environ, "WANDB_MODE": "offline", "GREETING_OF_THE_SERVICE": "1"}


class Submit(Protocol):
    def __call__(self, trainable: str, /, *, folder: str = ..., wait: bool = ..., **changes: Any) -> SweepHandle: ...


def processes_of(service: Service, actor: str, *, waiting: bool = False) -> list[psutil.Process]:
    """The service's processes that are an actor of this class; Ray writes it into their title.

    Args:
        waiting: those that wait for a sweep; else the others.
    """
    found = []
    for process in psutil.Process(service.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):  # it has just ended
            if actor in "".join(process.cmdline()[:1]):
                waits = (Path(process.cwd()) / ".toprung-spare").exists()
                found += [process] if waits == waiting else []
    return found


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("service") / "home", "--num-cpus", "4")
    yield running
    running.stop()


@pytest.fixture(scope="session")
def client(service: Service) -> Client:
    return service.client


@pytest.fixture(scope="session")
def submit(client: Client) -> Submit:
    """Submits a sweep over one of the trainables in `userland/` and waits for its end."""

    def submit(trainable: str, /, *, folder: str = "userland", wait: bool = True, **changes: Any) -> SweepHandle:
        spec = {
            "name": trainable.lower().replace("_", "-"),
            "trainable": f"trainables:{trainable}",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
            "search": {"algorithm": "random", "seed": 1},
            "budget": {"trials": 2},
            "failures": {"max_retries": 0},
            "tracking": {"tensorboard": False},
            **changes,
        }
        sweep = client.submit(spec, code=HERE / folder)
        if wait:
            sweep.wait(timeout_s=WAIT_S, progress=False)
        return sweep

    return submit
