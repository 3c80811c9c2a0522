"""What the supervisor does when one of its two ends: stand-ins here, the real ones in tests/cluster/test_head.py."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import psutil
import pytest
from tests.integration.conftest import free_port, until

from toprung.serve.supervisor import _Pause

RAY = """\
import os, pathlib, socket, subprocess, sys, time
with socket.create_server(("127.0.0.1", int(sys.argv[2]))):
    child = subprocess.Popen(["sleep", "600"])
    open(sys.argv[1], "a").write(f"{os.getpid()} {child.pid}\\n")
    while True:
        time.sleep(600)
"""
"""Like `ray start --block`: it listens, and has children. Ends on SIGTERM."""
SERVICE = """\
import json, os, pathlib, signal, sys, time
home = pathlib.Path(sys.argv[1])
def end(*_):
    try:
        os.kill(int((home / "rays").read_text().split()[-2]), 0)
        (home / "took-leave").touch()
    finally:
        os._exit(0)
signal.signal(signal.SIGTERM, end)
(home / "service.json").write_text(json.dumps({"url": "-", "pid": os.getpid()}))
open(home / "services", "a").write(f"{os.getpid()}\\n")
while True:
    time.sleep(600)
"""


class Run:
    """A supervisor of two stand-ins."""

    def __init__(self, home: Path, ray: str = RAY, service: str = SERVICE) -> None:
        self.home = home
        for name, code in (("ray.py", ray), ("service.py", service)):
            (home / name).write_text(textwrap.dedent(code))
        port = str(free_port())
        supervisor = [sys.executable, "-P", "-m", "toprung.serve.supervisor", "--home", str(home), "--gcs-port", port]
        commands = ["--service", f"{sys.executable} {home / 'service.py'} {home}"]
        commands += ["--", sys.executable, str(home / "ray.py"), str(home / "rays"), port]
        self.process = subprocess.Popen([*supervisor, *commands], stderr=subprocess.DEVNULL)

    def rays(self) -> list[list[int]]:
        """The process and its child, of each life."""
        return [[int(word) for word in line.split()] for line in self._lines("rays")]

    def services(self) -> list[int]:
        return [int(line) for line in self._lines("services")]

    def up(self, rays: int, services: int) -> None:
        until(lambda: (len(self.rays()), len(self.services())) == (rays, services), what="both up")

    def end(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def _lines(self, name: str) -> list[str]:
        path = self.home / name
        return path.read_text().splitlines() if path.exists() else []


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Callable[..., Run]]:
    runs: list[Run] = []

    def start(**code: str) -> Run:
        runs.append(Run(tmp_path, **code))
        return runs[-1]

    yield start
    for one in runs:
        for pid in [*chain(*one.rays()), *one.services(), one.process.pid]:
            if psutil.pid_exists(pid):
                os.kill(pid, signal.SIGKILL)
        one.process.wait()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_service_that_dies_is_started_again_and_ray_is_left_alone(run: Callable[..., Run]) -> None:
    running = run()
    running.up(1, 1)
    os.kill(running.services()[0], signal.SIGKILL)

    running.up(1, 2)
    assert json.loads((running.home / "supervisor.json").read_text())["pid"] == running.process.pid


def test_when_ray_dies_both_are_started_again(run: Callable[..., Run]) -> None:
    running = run()
    running.up(1, 1)
    os.kill(running.rays()[0][0], signal.SIGKILL)

    running.up(2, 2)
    assert not alive(running.services()[0])
    assert not (running.home / "took-leave").exists(), "nobody waits for a service whose Ray is gone"


def test_told_to_stop_it_ends_the_service_first(run: Callable[..., Run]) -> None:
    running = run()
    running.up(1, 1)

    assert running.end() == 0
    assert (running.home / "took-leave").exists(), "Ray was still there"
    assert not any(alive(pid) for pid in (running.rays()[0][0], running.services()[0]))
    assert not (running.home / "supervisor.json").exists()


def test_a_service_that_is_told_to_stop_ends_all(run: Callable[..., Run]) -> None:
    running = run()
    running.up(1, 1)
    os.kill(running.services()[0], signal.SIGTERM)

    assert running.process.wait(30) == 0
    assert not alive(running.rays()[0][0])


def test_ray_stop_ends_all(run: Callable[..., Run]) -> None:
    """It ends what `ray start --block` has started, not that itself; the service then loses Ray, and fails."""
    running = run()
    running.up(1, 1)
    os.kill(running.rays()[0][1], signal.SIGTERM)
    until(lambda: not alive(running.rays()[0][1]), what="the end of Ray's own processes")
    os.kill(running.services()[0], signal.SIGKILL)

    assert running.process.wait(30) == 0
    assert len(running.services()) == 1


def test_a_ray_that_dies_while_the_service_rests_is_started_again(run: Callable[..., Run]) -> None:
    running = run()
    running.up(1, 1)
    os.kill(running.services()[0], signal.SIGKILL)
    until(lambda: not psutil.pid_exists(running.services()[0]), what="the supervisor's notice of the service's end")
    os.kill(running.rays()[0][0], signal.SIGKILL)

    running.up(2, 2)


def test_a_ray_that_ends_a_second_after_its_processes_was_not_stopped(run: Callable[..., Run]) -> None:
    """`ray start --block` takes so long to see that one of them was killed."""
    running = run(ray=RAY.replace("while True:\n        time.sleep(600)", "child.wait(); time.sleep(1.5); sys.exit(1)"))
    running.up(1, 1)
    os.kill(running.services()[0], signal.SIGKILL)
    os.kill(running.rays()[0][1], signal.SIGKILL)

    running.up(2, 2)


def test_a_ray_that_fails_to_start_is_tried_again(run: Callable[..., Run]) -> None:
    late = "import os, sys\nif not os.path.exists(sys.argv[1]):\n    open(sys.argv[1], 'w')\n    sys.exit(1)\n"
    running = run(ray=late + RAY)

    running.up(1, 1)


def test_a_ray_that_never_starts_is_no_accident(run: Callable[..., Run]) -> None:
    running = run(ray="import sys; sys.exit(3)")

    assert running.process.wait(30) == 1
    assert "ended with 3; its last words are in" in (running.home / "service.error").read_text()
    assert not running.services()


def test_a_service_that_is_never_ready_is_no_accident(run: Callable[..., Run]) -> None:
    """A service.json that a killed one has left behind says nothing."""
    tries = "import pathlib, sys; open(pathlib.Path(sys.argv[1]) / 'services', 'a').write('0\\n'); sys.exit(2)"
    running = run(service=tries)
    (running.home / "service.json").write_text(json.dumps({"url": "-", "pid": 1}))

    assert running.process.wait(30) == 1
    assert len(running.services()) == 3
    assert not alive(running.rays()[0][0])


def test_pauses_grow_and_begin_anew_after_a_sound_while() -> None:
    pause = _Pause()

    assert [pause.after(ran_s) for ran_s in (1, 1, 1, 1, 1, 1, 1, 61, 1)] == [1, 2, 4, 8, 16, 30, 30, 1, 2]
