"""A PostgreSQL server of the tests' own, on a free port of the loopback interface."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.integration.conftest import free_port

_START_S = 60.0
_NOBODY = 65534


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    port: int

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(host="127.0.0.1", port=self.port, user="toprung", dbname=database, autocommit=True)

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://toprung@127.0.0.1:{self.port}/{database}"


@contextmanager
def running_server(binaries: Path, folder: Path) -> Iterator[Postgres]:
    if os.geteuid() == 0:
        os.chown(folder, _NOBODY, _NOBODY)
    initdb = ["initdb", "-D", "data", "-U", "toprung", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]
    subprocess.run(_command(binaries, *initdb), check=True, capture_output=True, cwd=folder)
    server = Postgres(free_port())
    settings = {
        "port": server.port,
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": folder,
        "fsync": "off",
        "full_page_writes": "off",
    }
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    log = folder / "log"
    with log.open("wb") as output:
        command = _command(binaries, "postgres", "-D", "data", *options)
        process = subprocess.Popen(command, stdout=output, stderr=output, cwd=folder)
        try:
            _wait_for(server, process, log)
            yield server
        finally:
            process.send_signal(signal.SIGINT)  # "fast": ends its sessions, then itself
            process.wait(timeout=_START_S)


def _wait_for(server: Postgres, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            server.connect().close()
            return
        except psycopg.OperationalError:
            assert process.poll() is None, f"PostgreSQL ended:\n{log.read_text()}"
            assert time.monotonic() < deadline, f"PostgreSQL did not start in {_START_S} s:\n{log.read_text()}"
            time.sleep(0.05)


def _command(binaries: Path, program: str, *arguments: str) -> list[str]:
    """PostgreSQL refuses to run as root."""
    nobody = [f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups"]
    root = os.geteuid() == 0
    # --pdeathsig: also a killed test run leaves no server behind
    return ["setpriv", "--pdeathsig=INT", *(nobody if root else []), "--", str(binaries / program), *arguments]
