"""A head as cluster/on-prem.yaml starts it, on a machine in namespaces: who is let in, what comes back."""

from __future__ import annotations

import ipaddress
import json
import re
import shlex
import struct
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cluster.hosts import Host, Lab, lab_of, why_not
from tests.integration.conftest import until

pytestmark = [pytest.mark.deep, pytest.mark.skipif(why_not() is not None, reason=f"{why_not()}")]

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = yaml.safe_load((ROOT / "cluster" / "on-prem.yaml").read_text(encoding="utf-8"))
SPEC = """\
name: NAME
trainable: train:train
code: .
metric: {name: loss, goal: minimize}
parameters: {x: {type: float, low: 0, high: 1}, gate: GATE}
search: {algorithm: random, seed: 1}
budget: {trials: 2}
failures: {max_retries: 0}
tracking: {tensorboard: false}
"""
TRAIN = """\
import pathlib, tempfile, time
from ray import tune

def train(config):
    checkpoint = tune.get_checkpoint()
    step = 0
    if checkpoint:
        with checkpoint.as_directory() as folder:
            step = int(pathlib.Path(folder, "step").read_text())
    while step < 3 or not pathlib.Path(config["gate"]).exists():
        step += 1
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "step").write_text(str(step))
            tune.report({"loss": config["x"] / step}, checkpoint=tune.Checkpoint.from_directory(folder))
        time.sleep(0.5)
"""


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """A head, and a worker that has no Ray yet."""
    with lab_of("trh", head=11, w1=21) as made:
        (made.folder / "runs").mkdir()
        for host in (made["head"], made["w1"]):  # as the file's setup commands do it
            host.ok(f"mkdir -p ~/.toprung && ln -sfn {made.folder / 'runs'} ~/.toprung/runs")
        start(made["head"])
        yield made


def start(head: Host) -> None:
    """Ray and the service, by the shipped commands; no machine is to be started by it."""
    head.ok("~/toprung-env/bin/ray get-auth-token --generate && chmod 600 ~/.ray/auth_token")
    for command in COMMANDS["head_start_ray_commands"]:
        head.ok(command.replace("--autoscaling-config=~/ray_bootstrap_config.yaml", "--num-cpus=2"))


def toprung(head: Host, command: str) -> Any:
    return json.loads(head.ok(f"~/toprung-env/bin/toprung {command} --json"))


def submit(lab: Lab, name: str) -> Path:
    """A sweep whose trials run until the gate is there; neither of them may fail. Returns the gate."""
    gate, job = lab.folder / f"{name}-gate", lab["head"].home / name
    job.mkdir()
    (job / "sweep.yaml").write_text(SPEC.replace("NAME", name).replace("GATE", str(gate)))
    (job / "train.py").write_text(TRAIN)
    toprung(lab["head"], f"submit ~/{name}/sweep.yaml")
    return gate


def trials(lab: Lab, sweep: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = toprung(lab["head"], f"trials {sweep}")["items"]
    return items


def under_way(lab: Lab, sweep: str, attempt: int = 1) -> bool:
    """Whether both trials run, and have a checkpoint, in that attempt or a later one."""
    done = lab["head"].run(f"~/toprung-env/bin/toprung trials {sweep} --json")
    if done.returncode:  # the service is coming back
        return False
    found = json.loads(done.stdout)["items"]
    return len(found) == 2 and all(
        trial["state"] == "running" and trial["attempt"] >= attempt and trial["resume_from"] for trial in found
    )


def finish(lab: Lab, sweep: str, gate: Path) -> None:
    gate.touch()

    def record() -> dict[str, Any]:
        found: dict[str, Any] = toprung(lab["head"], f"show {sweep}")["sweep"]
        return found

    until(lambda: record()["state"] not in ("queued", "running"), timeout_s=120, what="the sweep's end")
    assert record()["state"] == "succeeded", record()["reason"]
    assert [trial["state"] for trial in trials(lab, sweep)] == ["completed"] * 2


def pid_of(head: Host, what: str) -> int | None:
    """A process of Ray's or ours on the head; None while there is none."""
    supervisor = json.loads((head.home / ".toprung" / "supervisor.json").read_text())["pid"]
    options = {
        "service": f"-P {supervisor} -f toprung.serve",
        "ray": f"-P {supervisor} -f 'ray start'",
        "gcs": "-x gcs_server",
        "raylet": "-x raylet",
    }
    found = head.run(f"pgrep {options[what]}").stdout.split()
    return int(found[0]) if found else None


def kill(head: Host, what: str) -> None:
    """At once, and waits until another is there."""
    before = pid_of(head, what)
    assert before is not None
    head.ok(f"kill -9 {before}")
    until(lambda: pid_of(head, what) not in (None, before), timeout_s=120, what=f"another {what}")


def listening(host: Host) -> dict[int, set[Address]]:
    """TCP ports by the addresses that somebody listens on, as the kernel tells."""
    found: dict[int, set[Address]] = {}
    for line in host.ok("cat /proc/net/tcp /proc/net/tcp6").splitlines():
        local, _, state = line.split()[1:4]
        if state == "0A":  # TCP_LISTEN
            address, port = local.split(":")
            words = (int(address[i : i + 8], 16) for i in range(0, len(address), 8))
            parsed = ipaddress.ip_address(struct.pack(f"={len(address) // 8}I", *words))
            found.setdefault(int(port, 16), set()).add(getattr(parsed, "ipv4_mapped", None) or parsed)
    return found


def reachable_ports(host: Host) -> set[int]:
    """On an address that is not loopback."""
    return {
        port for port, addresses in listening(host).items() if not all(address.is_loopback for address in addresses)
    }


def documented() -> set[int]:
    """The ports that others reach, by the table in docs/cluster.md."""
    text = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    table = text.partition("## What listens where")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (\d+)(?:–(\d+))? \| (?!.*loopback)", table, re.MULTILINE)
    return {port for first, last in rows for port in range(int(first), int(last or first) + 1)}


class TestWhoIsLetIn:
    def test_only_documented_ports_are_open_to_others(self, lab: Lab) -> None:
        reachable = reachable_ports(lab["head"])

        assert {22, 6379, 6380} <= reachable, "the scan sees what is there"
        assert len(reachable - documented()) == 1, "any free one: Ray Serve's"

    def test_ray_refuses_who_has_no_token(self, lab: Lab) -> None:
        """Asked from another machine, port by port; with the token the same question is another matter."""
        head = lab["head"]
        token = (head.home / ".ray" / "auth_token").read_text().strip()
        ports = reachable_ports(head)
        methods = {
            6379: "ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
            6380: "ray.rpc.NodeManagerService/GetNodeStats",
            6381: "ray.rpc.ObjectManagerService/Pull",
            6383: "ray.rpc.ReporterService/GetTraceback",
            10001: "ray.rpc.RayletDriver/ClusterInfo",
            min(port for port in ports if 10002 <= port <= 19999): "ray.rpc.CoreWorkerService/GetCoreWorkerStats",
            (ports - documented()).pop(): "ray.serve.ASGIService/HandleRequest",
        }

        refused, mistaken, let_in = (ask(lab, methods, token) for token in (None, "f" * 64, token))

        assert refused == mistaken == dict.fromkeys(methods, "UNAUTHENTICATED")
        assert {"UNAUTHENTICATED", "UNAVAILABLE"}.isdisjoint(let_in.values())


ASK = """\
import json, sys, grpc
address, token, methods = json.loads(sys.argv[1])
sent = [("authorization", f"Bearer {token}")] if token else []
said = {}
for port, method in methods.items():
    with grpc.insecure_channel(f"{address}:{port}") as channel:
        try:
            channel.unary_unary(f"/{method}")(b"", metadata=sent, timeout=20)
            said[port] = "OK"
        except grpc.RpcError as error:
            said[port] = error.code().name
print(json.dumps(said))
"""


def ask(lab: Lab, methods: dict[int, str], token: str | None) -> dict[int, str]:
    """What the head's Ray answers a worker, by port."""
    question = json.dumps([lab["head"].address, token, methods])
    said = lab["w1"].ok(f"~/toprung-env/bin/python -c {shlex.quote(ASK)} {shlex.quote(question)}")
    return {int(port): code for port, code in json.loads(said).items()}


def test_the_head_comes_back_when_its_gcs_dies(lab: Lab) -> None:
    """All of Ray on the head goes with it, and the trials there; another Ray and service take up the sweep."""
    head = lab["head"]
    gate = submit(lab, "one")
    until(lambda: under_way(lab, "one"), timeout_s=120, what="trials with a checkpoint")

    kill(head, "gcs")

    until(lambda: under_way(lab, "one", attempt=2), timeout_s=180, what="the trials' next attempts")
    finish(lab, "one", gate)
    assert [trial["num_failures"] for trial in trials(lab, "one")] == [0, 0], "no fault of theirs"


def test_a_sweep_outlives_the_death_of_each(lab: Lab) -> None:
    """With the worker in the cluster: the service's process, the GCS, the raylet, what keeps Ray, one after another."""
    head, worker = lab["head"], lab["w1"]
    (worker.home / ".ray").mkdir(exist_ok=True)
    (worker.home / ".ray" / "auth_token").write_text((head.home / ".ray" / "auth_token").read_text())
    for command in COMMANDS["worker_start_ray_commands"]:
        worker.ok(command, env={"RAY_HEAD_IP": head.address})
    gate = submit(lab, "all")
    until(lambda: under_way(lab, "all"), timeout_s=120, what="trials with a checkpoint")

    for what in ("service", "gcs", "raylet", "ray"):
        kill(head, what)
        before = until(partial(steps, lab, "all"), timeout_s=120, what=f"the service, after {what}")
        until(partial(further, lab, "all", before), timeout_s=180, what=f"the trials, after {what}")
    finish(lab, "all", gate)


def steps(lab: Lab, sweep: str) -> list[int]:
    """Of its trials; empty while the service is away."""
    done = lab["head"].run(f"~/toprung-env/bin/toprung trials {sweep} --json")
    return [] if done.returncode else [trial["step"] for trial in json.loads(done.stdout)["items"]]


def further(lab: Lab, sweep: str, before: list[int]) -> bool:
    now = steps(lab, sweep)
    return bool(now) and all(later > earlier for later, earlier in zip(now, before, strict=True))
