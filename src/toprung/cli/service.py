"""The service on this machine as a process: find it, start it, stop it."""

from __future__ import annotations

import ipaddress
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NoReturn

from toprung.errors import InvalidInput, ToprungError, Unavailable

MODULE = "toprung.serve"
SUPERVISOR = "toprung.serve.supervisor"
SERVER_PACKAGES = ("ray", "torch", "optuna", "fastapi", "sqlalchemy", "alembic")
READY_WITHIN_S = 180.0
STOP_WITHIN_S = 60.0
STOP_ALL_WITHIN_S = 90.0
"""A supervisor, which ends the service and then Ray."""
GCS_PORT = 6379
POLL_S = 0.2


@dataclass(frozen=True)
class Service:
    """What `service.json` says of a running service."""

    url: str
    pid: int
    facts: dict[str, Any]


def running(home: Path) -> Service | None:
    """The service of this home, if its process lives; a file that a killed one left behind doesn't count."""
    try:
        facts = json.loads((home / "service.json").read_text(encoding="utf-8"))
        service = Service(str(facts["url"]), int(facts["pid"]), facts)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return service if is_ours(service.pid) else None


def supervisor(home: Path) -> int | None:
    """The process that keeps this home's service and Ray alive, if there is one."""
    try:
        pid = int(json.loads((home / "supervisor.json").read_text(encoding="utf-8"))["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return pid if is_ours(pid) else None


def is_ours(pid: int) -> bool:
    """Whether the process exists and is a Toprung service: pids are used again."""
    stat = Path(f"/proc/{pid}/stat")
    if Path("/proc/self/cmdline").exists():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            zombie = stat.read_text().rpartition(")")[2].split()[0] == "Z"
        except OSError:
            return False
        return MODULE in command and not zombie
    shown = subprocess.run(["ps", "-p", str(pid), "-o", "command="], capture_output=True, text=True, check=False)
    return MODULE in shown.stdout


def is_loopback(host: str) -> bool:
    """Whether this machine's users alone can reach the address.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        raise InvalidInput(
            f"--host {host} is no IP address. Use 127.0.0.1 for this machine alone, 0.0.0.0 for all its networks."
        ) from None


def check_installed() -> None:
    """Raises:
    ToprungError: only the client is installed.
    """
    missing = [name for name in SERVER_PACKAGES if find_spec(name) is None]
    if missing or find_spec(MODULE) is None:
        raise ToprungError(
            f"The service's packages are not installed ({', '.join(missing) or MODULE} is missing).\n"
            'Install them with: pip install "toprung[server]"'
        )


def command(home: Path, options: dict[str, str | int | bool | None]) -> list[str]:
    """The service's command line."""
    # -P: the folder that this is called in is no place to import from; a queue.py there would be taken for Python's
    words = [sys.executable, "-P", "-m", MODULE, "--home", str(home)]
    for name, value in options.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not None and value is not False:
            words += [f"--{name}", str(value)]
    return words


def supervised(home: Path, service: list[str], ray: list[str], address: str) -> list[str]:
    """The command line of a supervisor of the service and of the command that starts Ray.

    Raises:
        InvalidInput: there is no such command, or the address names no port.
    """
    if shutil.which(ray[0]) is None:
        raise InvalidInput(f"There is no command {ray[0]} here. After -- comes the one that starts Ray: ray start …")
    _, _, port = address.rpartition(":")
    if not port.isdecimal():
        raise InvalidInput(f"--address {address} names no port. Leave it out, or give ADDR:PORT of Ray's head here.")
    staying = ray if "--block" in ray else [*ray, "--block"]
    start = [sys.executable, "-P", "-m", SUPERVISOR, "--home", str(home), "--gcs-port", port]
    return [*start, "--service", shlex.join(service), "--", *staying]


def start(home: Path, command: list[str]) -> subprocess.Popen[bytes]:
    """Start a process in a session of its own, so that it outlives this terminal."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    (home / "service.error").unlink(missing_ok=True)
    with (home / "service.log").open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)


def become(home: Path, command: list[str]) -> NoReturn:
    """Be a service's process from now on, with this one's stdout and stderr."""
    check_installed()
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.execv(command[0], command)


def wait_ready(home: Path, process: subprocess.Popen[bytes], is_ready: Callable[[str], bool]) -> Service:
    """Wait until the process answers at the URL that it wrote down.

    Raises:
        ToprungError: it ended, in its own words; Unavailable: it takes too long, and is stopped again.
    """
    deadline = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise ToprungError(_last_words(home))
        service = running(home)
        if service is not None and is_ready(service.url):
            return service
        time.sleep(POLL_S)
    stop(process.pid, reap=process.poll, within_s=STOP_ALL_WITHIN_S)
    raise Unavailable(f"The service was not ready after {READY_WITHIN_S:.0f} s. Its log is {home / 'service.log'}")


def _last_words(home: Path) -> str:
    try:
        words = (home / "service.error").read_text(encoding="utf-8").strip()
    except OSError:
        words = ""
    if not words:
        return f"The service ended while it started. Its log tells why: {home / 'service.log'}"
    return words[0].upper() + words[1:]


def stop(pid: int, *, reap: Callable[[], Any] = lambda: None, within_s: float = STOP_WITHIN_S) -> bool:
    """End a service's process: SIGTERM, and SIGKILL if that doesn't end it `within_s`.

    Args:
        reap: called while waiting; collects the exit status where the process is our child.

    Returns:
        Whether it ended by itself.
    """
    if not _signal(pid, signal.SIGTERM) or _gone(pid, within_s, reap):
        return True
    _signal(pid, signal.SIGKILL)
    _gone(pid, 5.0, reap)
    return False


def _signal(pid: int, number: signal.Signals) -> bool:
    """Send a signal, if the process is (still) ours to end."""
    if not is_ours(pid):
        return False
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _gone(pid: int, within_s: float, reap: Callable[[], Any]) -> bool:
    deadline = time.monotonic() + within_s
    while is_ours(pid):
        if time.monotonic() > deadline:
            return False
        reap()
        time.sleep(POLL_S)
    return True
