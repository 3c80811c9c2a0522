"""`toprung cluster status` and `doctor`: what is printed, and the exit codes. There is no Ray behind this service."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.cli.cli_help import run
from tests.unit.cli.cli_served import Served
from tests.unit.cli.conftest import serving

from toprung.cluster.finding import Finding, error, warning
from toprung.cluster.records import CheckUp, Disk, Node, NodeReport, NodeState, Vitals
from toprung.tuning.records import SetAside

HEAD = Node(id="a", name="ip-10-0-12-11", address="10.0.12.11", is_head=True, state=NodeState.ALIVE, cpus=4)
WORKER = HEAD.model_copy(
    update={
        "id": "b",
        "name": "gpu-worker-7f9c.eu-central-1.compute.internal",
        "address": "10.0.112.212",
        "is_head": False,
        "cpus": 48.0,
        "cpus_used": 4.0,
        "gpus": 4.0,
        "gpus_used": 2.5,
        "gpu_type": "A10G",
        "memory_bytes": 180 * 10**9,
        "num_trials": 5,
    }
)
LOST = Node(id="c", name="w2", address="10.0.12.22", is_head=False, state=NodeState.LOST, reason="it was preempted")


class Made:
    """A cluster with these nodes, and with what a check-up is to find."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []

    def nodes(self) -> list[Node]:
        return [HEAD, WORKER, LOST]

    def shares(self) -> dict[str, int]:
        return {}

    def set_aside(self) -> list[SetAside]:
        return []

    def take_back(self, node_id: str) -> None:
        raise AssertionError(node_id)

    def check_up(self) -> CheckUp:
        disk = Disk(total_bytes=10**12, free_bytes=4 * 10**11)
        vitals = Vitals(
            python="3.11.7",
            packages={"ray": "2.60.0", "torch": "2.13.0+cu128", "toprung": "0.1.0", "optuna": "5.0.0"},
            cuda="12.8",
            gpus=["NVIDIA A10G"] * 4,
            driver="570.86.15",
            session=disk,
            disks={},
            shm_bytes=10**10,
            num_files=65536,
        )
        reports = [
            NodeReport(node=HEAD, trouble="no answer in 60 s"),
            NodeReport(node=WORKER, vitals=vitals, clock_ahead_s=-0.02, clock_error_s=0.01),
            NodeReport(node=LOST),
        ]
        return CheckUp(nodes=reports, findings=self.findings, took_s=60.2)


@pytest.fixture
def cluster() -> Made:
    return Made()


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cluster: Made) -> Iterator[Served]:
    monkeypatch.setenv("COLUMNS", "80")
    with serving(tmp_path / "home", monkeypatch, auth=False, cluster=cluster) as found:
        yield found


def test_status_fits_and_says_who_has_what(served: Served) -> None:
    done = run("cluster", "status")

    lines = done.out.splitlines()
    assert (done.code, max(map(len, lines)) <= 80) == (0, True), done.out
    (worker,) = (line for line in lines if line.startswith("gpu-worker"))
    assert worker.split()[1:] == ["10.0.112.212", "worker", "4/48", "2.5/4", "A10G", "180", "GB", "5"]
    assert "w2: it was preempted" in lines
    assert any(line.split()[:3] == ["still-going", "–", "running"] for line in lines)
    assert any(line.split()[:3] == ["waiting", "–", "queued"] for line in lines)


def test_status_as_json(served: Served) -> None:
    found = run("cluster", "status", "--json").json

    assert [node["state"] for node in found["nodes"]] == ["alive", "alive", "lost"]
    assert {sweep["name"]: sweep["num_running"] for sweep in found["sweeps"]} == {"still-going": 1, "waiting": 0}


def test_doctor_says_that_all_is_well(served: Served) -> None:
    done = run("cluster", "doctor")

    lines = done.out.splitlines()
    assert (done.code, lines[-1]) == (0, "3 machines: all is well")
    assert max(map(len, lines)) <= 80, done.out
    (worker,) = (line for line in lines if line.startswith("gpu-worker"))
    assert worker.split()[1:] == ["0.1.0", "2.13.0+cu128", "4/4", "570.86.15", "400", "GB", "-0.02", "s"]
    assert any("no answer" in line for line in lines)


def test_doctor_prints_each_finding_with_its_remedy_and_ends_with_2(served: Served, cluster: Made) -> None:
    cluster.findings = [
        error("clock", "w1", "its clock is 90.0 s ahead of the head's", "run chrony"),
        warning("few_files", "w1", "1,024 files", "ulimit"),
    ]

    done = run("cluster", "doctor")

    assert done.code == 2
    assert "error  w1\n  its clock is 90.0 s ahead of the head's\n  → run chrony" in done.out
    assert done.out.splitlines()[-1] == "3 machines: 1 error, 1 warning"
    assert run("cluster", "doctor", "--json").json["findings"][0]["code"] == "clock"


@pytest.mark.parametrize("command", ["status", "doctor"])
def test_no_service_is_a_clear_error(command: str) -> None:
    done = run("cluster", command, "--url", "http://127.0.0.1:1")

    assert done.code == 3
    assert "No Toprung service at http://127.0.0.1:1" in done.err
