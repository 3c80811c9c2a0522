"""A cluster between machines in namespaces, started by hand as cluster/on-prem.yaml does it, with the service."""

from __future__ import annotations

import json
import secrets
import sys
import textwrap
from pathlib import Path
from typing import Any

import toprung
from tests.cluster.hosts import Host, Lab
from tests.integration.conftest import until

BIN = f"{sys.prefix}/bin"
ENV = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "PYTHONPATH": str(Path(toprung.__file__).resolve().parents[1]),
    "RAY_grpc_client_keepalive_time_ms": "10000",
    "RAY_grpc_client_keepalive_timeout_ms": "5000",
    # a head that starts anew takes its time where all machines are on two cores
    "RAY_gcs_rpc_server_reconnect_timeout_s": "240",
    "RAY_agent_register_timeout_ms": "240000",
}
HEAD_ENV = {
    "RAY_gcs_storage": "rocksdb",
    "RAY_gcs_storage_path": f"{Path.home()}/.toprung/ray-gcs",
    "RAY_health_check_period_ms": "2000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "5",
}
START_S = 300.0
_TRIES = 3
_LIGHT = "--object-store-memory=200000000 --disable-usage-stats --include-log-monitor=false"
_LIGHT_HEAD = f"{_LIGHT} --include-dashboard=false --no-monitor"
"""Without what is not looked at here: each of these processes takes seconds to start, all at the same time."""
_RESTART_GCS = r"""
import os, pathlib, signal, subprocess
for process in pathlib.Path("/proc").glob("[0-9]*"):
    command = (process / "cmdline").read_bytes().split(b"\0")[:-1]
    if command and command[0].endswith(b"/gcs_server"):
        env = dict(pair.split(b"=", 1) for pair in (process / "environ").read_bytes().split(b"\0") if pair)
        os.kill(int(process.name), signal.SIGKILL)
        with open("/tmp/gcs.log", "wb") as log:
            subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
        break
else:
    raise SystemExit("there is no gcs_server")
"""


class Started:
    """The head runs no trials; workers are added.

    Args:
        lab: its machines; `head` must be one.
    """

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._token = secrets.token_hex(32)
        self.runs = lab.folder / "runs"
        self.runs.mkdir()
        self.head = lab["head"]
        self._prepare(self.head)
        self.start_head()

    def start_head(self) -> None:
        """Ray and the service; what an earlier life left on the disk is taken up."""
        options = f"--head --port=6379 --num-cpus=0 {_LIGHT_HEAD}"
        _start_ray(self.head, f"mkdir -p ~/.toprung/ray-gcs && {BIN}/ray start {options}", ENV | HEAD_ENV)
        self.head.ok(f"{BIN}/toprung up --address 127.0.0.1:6379", timeout_s=START_S, env=ENV)

    def add(self, name: str, options: str, *, env: dict[str, str] | None = None) -> Host:
        """Starts Ray on a machine of the lab.

        Args:
            name: of the machine.
            options: of `ray start`, such as --num-cpus=1.
            env: more of it.
        """
        host = self._lab[name]
        self._prepare(host)
        address = f"--address={self.head.address}:6379"
        _start_ray(host, f"{BIN}/ray start {address} {_LIGHT} {options}", ENV | (env or {}))
        return host

    def restart_gcs(self) -> None:
        """Kills it, and starts it as it was."""
        self.head.ok(f"{BIN}/python - <<'END'\n{_RESTART_GCS}\nEND")

    def toprung(self, command: str, *, code: int = 0) -> Any:
        """What a command says on the head, parsed."""
        done = self.head.run(f"{BIN}/toprung {command} --json", env=ENV)
        assert done.returncode == code, f"toprung {command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def get(self, path: str) -> Any:
        """The service's answer; the command line takes a second longer."""
        code = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:8000{path}').read().decode())"
        return json.loads(self.head.ok(f'{BIN}/python -c "{code}"'))

    def submit(self, name: str, spec: str, code: str) -> None:
        """A sweep over `train.py` with this code."""
        folder = self.head.home / name
        folder.mkdir()
        (folder / "sweep.yaml").write_text(f"name: {name}\n{textwrap.dedent(spec)}")
        (folder / "train.py").write_text(code)
        self.toprung(f"submit ~/{name}/sweep.yaml")

    def trials(self, sweep: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get(f"/v1/sweeps/{sweep}/trials")["items"]
        return found

    def events(self, sweep: str) -> list[dict[str, Any]]:
        """All of a sweep that is over."""
        lines = self.head.ok(f"{BIN}/toprung watch {sweep} --json", env=ENV).splitlines()
        return [event for line in lines if "id" in (event := json.loads(line))]

    def wait(self, sweep: str, timeout_s: float = START_S) -> None:
        """Until it has succeeded."""

        def state() -> str:
            return str(self.get(f"/v1/sweeps/{sweep}")["state"])

        until(lambda: state() not in ("queued", "running"), timeout_s=timeout_s, what=f"the end of {sweep}")
        assert state() == "succeeded"

    def wait_for_spare(self, name: str) -> None:
        """A runner that waits, on the only machine beside the head; on that, as long as there is no other."""
        waiting = "for p in $(pgrep -f RunnerActor); do test -e /proc/$p/cwd/.toprung-spare && echo yes; done"
        until(lambda: "yes" in self._lab[name].run(waiting).stdout, timeout_s=START_S, what="the spare runner")

    def _prepare(self, host: Host) -> None:
        """The token, and the service's folder with what all share."""
        token = host.home / ".ray" / "auth_token"
        token.parent.mkdir(exist_ok=True)
        token.write_text(self._token)
        token.chmod(0o600)
        home = host.home / ".toprung"
        home.mkdir(exist_ok=True)
        if not (home / "runs").exists():
            (home / "runs").symlink_to(self.runs)


def _start_ray(host: Host, command: str, env: dict[str, str]) -> None:
    """Ray gives itself 30 s, which is little where all machines are on two busy cores: then once more."""
    for _ in range(_TRIES - 1):
        if host.run(command, timeout_s=START_S, env=env).returncode == 0:
            return
        host.run("pkill -9 -f '[/]ray/|^ray::'")
    host.ok(command, timeout_s=START_S, env=env)
