"""up and down: processes of the service. Stand-ins carry the module's name in their command line."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.cli.cli_help import run

from toprung.cli import service
from toprung.errors import InvalidInput

POLITE = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(600)"


@pytest.fixture
def spawned() -> Iterator[list[subprocess.Popen[bytes]]]:
    processes: list[subprocess.Popen[bytes]] = []
    yield processes
    for process in processes:
        process.kill()
        process.communicate()


def spawn(spawned: list[subprocess.Popen[bytes]], code: str, *args: str) -> subprocess.Popen[bytes]:
    process = subprocess.Popen([sys.executable, "-c", code, *args], stdout=subprocess.PIPE)
    spawned.append(process)
    return process


def announce(home: Path, pid: int) -> None:
    (home / "service.json").write_text(json.dumps({"url": "http://127.0.0.1:8000", "pid": pid}))


@pytest.mark.parametrize("host", ["example.com", "127.0.0", "10.0.0.1/8"])
def test_up_refuses_what_is_no_address(host: str, tmp_path: Path) -> None:
    done = run("up", "--host", host, "--home", str(tmp_path / "home"))
    assert done.code == 2
    assert f"--host {host} is no IP address. Use 127.0.0.1" in done.err
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("args", "asked"),
    [
        ([], False),
        (["--host", "127.0.0.2"], False),
        (["--host", "::1"], False),
        (["--auth"], True),
        (["--host", "0.0.0.0"], True),
        (["--host", "192.168.1.5"], True),
        (["--host", "::"], True),
    ],
)
def test_up_asks_for_tokens_where_others_can_reach_it(
    args: list[str], asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def popen(command: list[str], **_: object) -> None:
        commands.append(command)
        raise InvalidInput("enough is known")

    monkeypatch.setattr(subprocess, "Popen", popen)
    assert run("up", *args, "--home", str(tmp_path)).err == "enough is known\n"
    (command,) = commands
    assert ("--auth" in command) is asked


def test_up_does_not_pass_a_service_without_tokens_off_as_one_with(
    tmp_path: Path, spawned: list[subprocess.Popen[bytes]]
) -> None:
    announce(tmp_path, spawn(spawned, POLITE, "toprung.serve").pid)
    done = run("up", "--auth", "--home", str(tmp_path))
    assert done.code == 5
    assert "already up at http://127.0.0.1:8000, without access control" in done.err


def test_up_says_that_it_is_already_up(tmp_path: Path, spawned: list[subprocess.Popen[bytes]]) -> None:
    announce(tmp_path, spawn(spawned, POLITE, "toprung.serve").pid)
    done = run("up", "--home", str(tmp_path))
    assert (done.code, "already up at http://127.0.0.1:8000" in done.out) == (0, True)
    assert run("up", "--home", str(tmp_path), "--json").json["started"] is False


def test_up_without_the_server_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "SERVER_PACKAGES", ("surely_not_installed",))
    done = run("up", "--home", str(tmp_path))
    assert (done.code, 'pip install "toprung[server]"' in done.err) == (1, True)


def test_up_tells_why_the_service_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import pathlib, sys; pathlib.Path(sys.argv[1], 'service.error').write_text('port 8000 is taken\\n')"

    def start(home: Path, options: object) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", code, str(home)])

    monkeypatch.setattr(service, "start", start)
    done = run("up", "--home", str(tmp_path))
    assert (done.code, done.err) == (1, "Port 8000 is taken\n")


def test_down_ends_the_service(tmp_path: Path, spawned: list[subprocess.Popen[bytes]]) -> None:
    process = spawn(spawned, POLITE, "toprung.serve")
    announce(tmp_path, process.pid)
    done = run("down", "--home", str(tmp_path))
    assert (done.code, done.out) == (0, "Toprung is down.\n")
    assert process.wait(5) == -15


def test_down_kills_what_does_not_listen(spawned: list[subprocess.Popen[bytes]]) -> None:
    process = spawn(spawned, STUBBORN, "toprung.serve")
    assert process.stdout is not None
    process.stdout.readline()  # by now it ignores SIGTERM
    assert service.stop(process.pid, within_s=0.3) is False
    assert process.wait(5) == -9


def test_down_leaves_other_processes_alone(tmp_path: Path, spawned: list[subprocess.Popen[bytes]]) -> None:
    process = spawn(spawned, POLITE)  # a pid that was used again
    announce(tmp_path, process.pid)
    done = run("down", "--home", str(tmp_path))
    assert (done.code, "No service is running" in done.out) == (0, True)
    assert process.poll() is None


def test_down_without_a_service(tmp_path: Path) -> None:
    done = run("down", "--home", str(tmp_path), "--json")
    assert (done.code, done.json["stopped"]) == (0, False)
