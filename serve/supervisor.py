"""`python -m toprung.serve.supervisor`: keeps Ray and the service on a head alive; `toprung up -- ray start …` runs it.

Ray restarts its actors, and Ray Serve the replica, but nobody restarts Ray's own processes, or the service's: here both
are started again when they end, until somebody stops them: `toprung down` (SIGTERM to this process), or `ray stop`. Ray
is one process here, `ray start --block`, which ends, with all that it has started, as soon as one of these dies.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from enum import Enum, auto
from functools import partial
from pathlib import Path

import psutil

from toprung.cluster import environment
from toprung.serve.home import Home

logger = logging.getLogger("toprung.supervisor")

_POLL_S = 0.2
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0
"""Before something is started again, doubled each time. Workers wait a minute for the head's Ray."""
_SOUND_S = 60.0
"""What has run for so long is started again after the first pause."""
_FIRST_TRIES = 3
"""Of each, until the service is ready for the first time: on a busy machine Ray waits too short for its own processes.
What fails so often is no accident, and whoever starts it should hear of it."""
_SERVICE_GRACE_S, _RAY_GRACE_S = 50.0, 20.0
_RAY_NOTICES_S = 2.0
"""`ray start --block` looks once a second whether one of its processes has died, and ends with the others then."""


class _End(Enum):
    """Why a round of Ray and the service is over."""

    RAY_DIED = auto()
    WANTED = auto()
    """Somebody told this process, the service, or Ray to stop."""
    NEVER_READY = auto()


class Supervisor:
    """Two processes that are started again.

    Args:
        home: the service's.
        ray: a command that starts Ray on this machine and stays with it.
        service: a command that is the service.
        port: of Ray's GCS on this machine; the service is started once something listens there.
    """

    def __init__(self, home: Home, ray: Sequence[str], service: Sequence[str], port: int) -> None:
        self._home, self._ray, self._service, self._port = home, ray, service, port
        self._told_to_stop = False
        self._was_ready = False

    def stop(self, *_: object) -> None:
        """A signal handler: no more than a note, since it may run anywhere in the loop."""
        self._told_to_stop = True

    def run(self) -> int:
        """Runs until it is told to stop. Returns the exit code: 1 where one of the two has never come up."""
        pause, tries = _Pause(), 0
        while True:
            logger.info("starting Ray: %s", shlex.join(self._ray))
            ray = _start(self._ray)
            began = time.monotonic()
            try:
                end = self._keep_service(ray)
            finally:
                _finish(ray, _RAY_GRACE_S)
            if end is _End.WANTED:
                return 0
            if end is _End.NEVER_READY:
                return 1
            tries += 1
            if not self._was_ready and tries == _FIRST_TRIES:
                return self._give_up(f"Ray could not be started: `{shlex.join(self._ray)}` ended with {ray.returncode}")
            logger.warning("Ray ended with %s", ray.returncode)
            self._rest(pause.after(time.monotonic() - began))

    def _keep_service(self, ray: subprocess.Popen[bytes]) -> _End:
        """The service as long as Ray lives."""
        if not self._until(lambda: _listens(self._port), ray):
            return self._end_of(ray)
        pause, tries = _Pause(), 0
        while True:
            service = _start(self._service)
            began = time.monotonic()
            try:
                self._until(partial(self._has_ended, service), ray)
            finally:
                # without Ray it has nobody to take leave of
                _finish(service, _SERVICE_GRACE_S if _has_children(ray) else 0)
            if self._told_to_stop or ray.poll() is not None or service.returncode == 0:
                return self._end_of(ray)
            tries += 1
            if not self._was_ready and tries == _FIRST_TRIES:
                return _End.NEVER_READY
            logger.warning("the service ended with %s", service.returncode)
            rested = self._until(_after(pause.after(time.monotonic() - began)), ray)
            if rested and not _has_children(ray):
                rested = self._until(_after(_RAY_NOTICES_S), ray)
                if rested:
                    logger.info("Ray was stopped (ray stop)")
                    return _End.WANTED
            if not rested:
                return self._end_of(ray)

    def _end_of(self, ray: subprocess.Popen[bytes]) -> _End:
        return _End.RAY_DIED if ray.poll() is not None and not self._told_to_stop else _End.WANTED

    def _has_ended(self, service: subprocess.Popen[bytes]) -> bool:
        self._was_ready = self._was_ready or self._home.announces(service.pid)
        return service.poll() is not None

    def _until(self, condition: Callable[[], bool], ray: subprocess.Popen[bytes]) -> bool:
        """Waits; False: Ray has ended meanwhile, or this process is to stop."""
        while not condition():
            if self._told_to_stop or ray.poll() is not None:
                return False
            time.sleep(_POLL_S)
        return True

    def _rest(self, pause_s: float) -> None:
        ends_at = time.monotonic() + pause_s
        while not self._told_to_stop and time.monotonic() < ends_at:
            time.sleep(_POLL_S)

    def _give_up(self, why: str) -> int:
        self._home.error_file.write_text(f"{why}; its last words are in {self._home.path / 'service.log'}\n")
        logger.error("%s", why)
        return 1


class _Pause:
    """How long to wait before something is started again."""

    def __init__(self) -> None:
        self._next_s = _FIRST_PAUSE_S

    def after(self, ran_s: float) -> float:
        pause_s = _FIRST_PAUSE_S if ran_s > _SOUND_S else self._next_s
        self._next_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return pause_s


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    env = {**os.environ, **environment.service_first()}
    # a session of its own: Ctrl-C is for the supervisor, which ends the two in order
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, env=env)


def _finish(process: subprocess.Popen[bytes], grace_s: float) -> None:
    """Ends a process: SIGTERM, and SIGKILL if that doesn't end it in time; at once without a grace."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM if grace_s else signal.SIGKILL)
    try:
        process.wait(timeout=grace_s or None)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _has_children(ray: subprocess.Popen[bytes]) -> bool:
    """`ray stop` ends what `ray start --block` has started, and leaves itself."""
    try:
        return any(child.status() != psutil.STATUS_ZOMBIE for child in psutil.Process(ray.pid).children())
    except psutil.NoSuchProcess:
        return False


def _after(seconds: float) -> Callable[[], bool]:
    ends_at = time.monotonic() + seconds
    return lambda: time.monotonic() >= ends_at


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def main() -> int:
    """Supervises until it is told to stop. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m toprung.serve.supervisor", description=__doc__)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--gcs-port", type=int, required=True, help="where Ray listens, on this machine")
    parser.add_argument("--service", type=shlex.split, required=True, help="the service's command, as one argument")
    parser.add_argument("ray", nargs="+", help="the command that starts Ray and stays")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    home = Home.at(args.home)
    supervisor = Supervisor(home, args.ray, args.service, args.gcs_port)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.stop)
    home.supervisor_file.write_text(json.dumps({"pid": os.getpid()}))
    try:
        return supervisor.run()
    finally:
        home.supervisor_file.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
