"""Machines on one machine: namespaces, each with an address, a home and an sshd of its own.

`ray stop`, which `ray up` calls, ends every Ray process that it can see: in a process namespace those of this machine.
The switch lies in a namespace too, and forwards nothing: no packet leaves.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import toprung
from tests.integration.conftest import until

_TOOLS = ("ip", "unshare", "nsenter", "/usr/sbin/sshd", "ssh", "ssh-keygen", "rsync")
_OWN_SIZE = {"/dev/shm": "1g", "/tmp": "2g", "/run": "64m"}
_VENV = Path(sys.prefix)
_SEEN = (_VENV, Path(sys.base_prefix), Path(toprung.__file__).resolve().parents[2])
"""What all machines see under the path that it has here: Python, its packages, and this project."""


def why_not() -> str | None:
    """Why there can be no such machines here; None: there can."""
    if missing := [tool for tool in _TOOLS if shutil.which(tool) is None]:
        return f"not installed: {', '.join(missing)}"
    tried = subprocess.run(
        ["unshare", "--net", "--mount", "--pid", "--uts", "--ipc", "--fork", "--mount-proc", "true"],
        capture_output=True,
        text=True,
        check=False,
    )
    return f"no namespaces: {tried.stderr.strip()}" if tried.returncode else None


def _call(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


class Host:
    """One of them; it has power as soon as it is made.

    Args:
        lab: whose switch it is plugged into.
        name: its host name.
        number: the last part of its address.
    """

    def __init__(self, lab: Lab, name: str, number: int) -> None:
        self.address = f"{lab.network}.{number}"
        self.home = lab.folder / name
        self._lab, self._name = lab, name
        self._namespace = f"{lab.prefix}{name}"
        self._prepare_home()
        self._plug_in()
        self.power_on()

    def run(
        self, command: str, *, timeout_s: float = 240, env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """A command line as if typed there; what it prints and its exit code."""
        return subprocess.run(
            self._enter("bash", "-c", command, env=env or {}),
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def ok(self, command: str, *, timeout_s: float = 240, env: Mapping[str, str] | None = None) -> str:
        """What a command that must not fail prints."""
        done = self.run(command, timeout_s=timeout_s, env=env)
        assert done.returncode == 0, f"{command} on {self._name}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def power_on(self) -> None:
        """Boots it, with the home that it had; what was in its /tmp is gone."""
        self._process = self._boot()
        until(self._pid_of_init, what=f"a first process on {self._name}")
        self._init = self._pid_of_init()
        until(self._has_sshd, timeout_s=60, what=f"sshd on {self._name}")

    def power_off(self) -> None:
        """All its processes at once."""
        os.kill(self._init, 9)
        self._process.wait()

    def unplug(self) -> None:
        """Its cable: packets are lost, and nobody is told."""
        _call("ip", "-n", self._lab.switch, "link", "set", self._namespace, "down")

    def remove(self) -> None:
        if self._process.poll() is None:
            self.power_off()
        subprocess.run(["ip", "netns", "del", self._namespace], check=False, capture_output=True)

    def _enter(self, *command: str, env: Mapping[str, str]) -> list[str]:
        given = {"HOME": str(Path.home()), "LANG": "C.UTF-8", "TERM": "dumb", "PATH": os.environ["PATH"], **env}
        assigned = [f"{name}={value}" for name, value in given.items()]
        return ["nsenter", "-t", str(self._init), "-a", "env", "-i", *assigned, *command]

    def _prepare_home(self) -> None:
        ssh = self.home / ".ssh"
        ssh.mkdir(parents=True, mode=0o700)
        self.home.chmod(0o700)
        for name in ("id_ed25519", "id_ed25519.pub"):
            shutil.copy(self._lab.folder / name, ssh / name)
        shutil.copy(self._lab.folder / "id_ed25519.pub", ssh / "authorized_keys")
        _call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.home / "host_key"))
        (self.home / "toprung-env").symlink_to(_VENV)
        settings = "export RAY_USAGE_STATS_ENABLED=0\n"
        (self.home / ".bashrc").write_text(settings)
        (self.home / ".bash_profile").write_text(settings)
        (self.home / "sshd_config").write_text(
            textwrap.dedent(
                f"""\
                ListenAddress {self.address}
                HostKey {Path.home()}/host_key
                PidFile none
                UsePAM no
                StrictModes no
                PermitRootLogin prohibit-password
                PasswordAuthentication no
                MaxStartups 100
                MaxSessions 100
                """
            )
        )

    def _plug_in(self) -> None:
        name, switch = self._namespace, self._lab.switch
        _call("ip", "netns", "add", name)
        _call("ip", "-n", switch, "link", "add", name, "type", "veth", "peer", "name", "eth0", "netns", name)
        _call("ip", "-n", switch, "link", "set", name, "master", "br0", "up")
        _call("ip", "-n", name, "addr", "add", f"{self.address}/24", "dev", "eth0")
        for link in ("lo", "eth0"):
            _call("ip", "-n", name, "link", "set", link, "up")
        # Ray finds its own address by the way to the default route; this one leads nowhere
        _call("ip", "-n", name, "route", "add", "default", "via", f"{self._lab.network}.1")

    def _boot(self) -> subprocess.Popen[bytes]:
        home = Path.home()
        # what all see may lie under folders that are covered: first aside, then back
        seen = list(enumerate(dict.fromkeys([self._lab.folder, *_SEEN])))
        script = "\n".join(
            [
                "set -e",
                f"hostname {self._name}",
                "mount --make-rprivate /",
                "mount -t tmpfs aside /media",
                *(f"mkdir /media/{i}; mount --bind {path} /media/{i}" for i, path in seen),
                f"mkdir /media/home; mount --bind {self.home} /media/home",
                f"mount --bind {self._lab.folder / 'hosts'} /etc/hosts",
                *(f"mount -t tmpfs -o mode=1777,size={size} own {path}" for path, size in _OWN_SIZE.items()),
                f"mount --bind /media/home {home}",
                *(f"mkdir -p {path}; mount --bind /media/{i} {path}" for i, path in seen),
                "mkdir -p /run/sshd",
                f"/usr/sbin/sshd -D -e -f {home}/sshd_config &",
                "while :; do wait -n || sleep 0.2; done",
            ]
        )
        inside = ["unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child", "--mount-proc"]
        with (self.home / "console").open("wb") as console:
            return subprocess.Popen(
                ["ip", "netns", "exec", self._namespace, *inside, "bash", "-c", script],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )

    def _pid_of_init(self) -> int:
        assert self._process.poll() is None, (self.home / "console").read_text()
        pid = self._process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return int(children[0]) if children else 0

    def _has_sshd(self) -> bool:
        assert self._process.poll() is None, (self.home / "console").read_text()
        return self.run(f"exec 3<>/dev/tcp/{self.address}/22").returncode == 0


class Lab:
    """A switch, and the machines on it.

    Args:
        folder: of theirs, seen by all under the same path: the homes, and what they share.
        prefix: of the names of their namespaces, short.
        network: the first three parts of their addresses.
    """

    def __init__(self, folder: Path, prefix: str, network: str = "10.213.7") -> None:
        self.folder, self.prefix, self.network = folder, prefix, network
        self.switch = f"{prefix}sw"
        self.hosts: dict[str, Host] = {}
        _call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "id_ed25519"))
        (folder / "hosts").write_text("127.0.0.1 localhost\n")
        _call("ip", "netns", "add", self.switch)
        _call("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge")
        _call("ip", "-n", self.switch, "addr", "add", f"{network}.1/24", "dev", "br0")
        _call("ip", "-n", self.switch, "link", "set", "br0", "up")

    def add(self, **numbers: int) -> None:
        """Machines by name and number."""
        with (self.folder / "hosts").open("a") as known:
            known.writelines(f"{self.network}.{number} {name}\n" for name, number in numbers.items())
        for name, number in numbers.items():
            self.hosts[name] = Host(self, name, number)

    def __getitem__(self, name: str) -> Host:
        return self.hosts[name]

    def remove(self) -> None:
        for host in self.hosts.values():
            host.remove()
        subprocess.run(["ip", "netns", "del", self.switch], check=False, capture_output=True)


@contextmanager
def lab_of(prefix: str, network: str = "10.213.7", **numbers: int) -> Iterator[Lab]:
    """A lab with these machines, by name and number, in a folder of its own; nothing is left of it."""
    with tempfile.TemporaryDirectory(prefix="lab-", ignore_cleanup_errors=True) as folder:
        made = Lab(Path(folder), prefix, network)
        try:
            made.add(**numbers)
            yield made
        finally:
            made.remove()
