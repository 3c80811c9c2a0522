"""What the doctor makes of what nodes say: a finding for each thing that is wrong, none for a well one."""

from __future__ import annotations

from typing import Any

import pytest

from toprung.cluster.diagnosis import Head, diagnose
from toprung.cluster.finding import Finding
from toprung.cluster.records import Disk, Node, NodeReport, NodeState, Vitals

WELL = Head(lets_strangers_in=False, dashboard="127.0.0.1:8265")
ROOM = Disk(total_bytes=100 * 10**9, free_bytes=60 * 10**9)
RUNS = "/home/ray/.toprung/runs"


def node(name: str, **fields: Any) -> Node:
    plain: dict[str, Any] = {
        "id": name,
        "name": name,
        "address": f"10.0.0.{len(name)}",
        "is_head": name == "head",
        "state": NodeState.ALIVE,
        "gpus": 0 if name == "head" else 2,
        "object_store_bytes": 10**9,
    }
    return Node.model_validate(plain | fields)


def vitals(**fields: Any) -> Vitals:
    plain: dict[str, Any] = {
        "python": "3.11.7",
        "packages": {"ray": "2.60.0", "torch": "2.13.0+cu128", "toprung": "0.1.0", "optuna": "5.0.0"},
        "cuda": "12.8",
        "gpus": ["NVIDIA A10G", "NVIDIA A10G"],
        "driver": "570.86.15",
        "driver_cuda": "12.8",
        "session": ROOM,
        "disks": {RUNS: ROOM},
        "shm_bytes": 8 * 10**9,
        "num_files": 65536,
    }
    return Vitals.model_validate(plain | fields)


HEAD_VITALS = vitals(
    packages={"ray": "2.60.0", "torch": "2.13.0+cpu", "toprung": "0.1.0", "optuna": "5.0.0"},
    cuda=None,
    gpus=None,
    driver=None,
    driver_cuda=None,
)


def report(of: Node, says: Vitals | None, **fields: Any) -> NodeReport:
    plain: dict[str, Any] = {"storage": {RUNS: None}, "clock_ahead_s": 0.01, "clock_error_s": 0.02}
    return NodeReport.model_validate({"node": of, "vitals": says} | plain | fields)


def findings(*reports: NodeReport, head: Head = WELL) -> list[Finding]:
    return list(diagnose([report(node("head"), HEAD_VITALS), *reports], head))


def test_a_well_cluster_has_none() -> None:
    """Also with another build of PyTorch on a head without GPUs, and another patch of Python."""
    assert findings(report(node("w1"), vitals(python="3.11.9"))) == []


@pytest.mark.parametrize(
    ("fields", "severity", "code", "said"),
    [
        ({"gpus": None, "driver": None, "driver_cuda": None}, "error", "gpu_count", "no NVIDIA driver answers"),
        ({"gpus": ["NVIDIA A10G"]}, "error", "gpu_count", "Ray counts 2 GPUs, and NVML finds 1"),
        ({"gpus": ["NVIDIA A10G"] * 4}, "warning", "gpu_count", "NVML finds 4 GPUs, and Ray counts 2"),
        ({"gpu_faults": ["GPU 1: GPU is lost"]}, "error", "gpu_fault", "GPU 1: GPU is lost"),
        ({"cuda": None}, "error", "torch_without_cuda", "is built without CUDA"),
        ({"cuda": "13.0"}, "error", "driver_too_old", "built for CUDA 13.0, the driver 570.86.15 runs 12.8"),
        ({"python": "3.12.1"}, "error", "version", "Python 3.12.1, and 3.11.7 on the head"),
        ({"num_files": 1024}, "warning", "few_files", "1,024 files"),
        ({"shm_bytes": 64 * 10**6}, "warning", "small_shm", "/dev/shm has 0.1 GB"),
        ({"session": Disk(total_bytes=10**12, free_bytes=10**10)}, "error", "disk_full", "more than 95% full"),
        ({"session": Disk(total_bytes=2 * 10**9, free_bytes=9 * 10**8)}, "warning", "disk_small", "0.9 GB of 2.0 GB"),
    ],
)
def test_each_fault_is_one_finding(fields: dict[str, Any], severity: str, code: str, said: str) -> None:
    (found,) = findings(report(node("w1"), vitals(**fields)))

    assert (found.severity, found.code, found.place) == (severity, code, "w1 (10.0.0.2)")
    assert said in found.message
    assert found.remedy


@pytest.mark.parametrize(
    ("package", "version", "severity", "said"),
    [
        ("ray", "2.59.0", "error", "ray 2.59.0, and 2.60.0 on the head"),
        ("toprung", None, "error", "toprung is not installed, and 0.1.0 on the head"),
        ("torch", "2.12.0+cu128", "warning", "torch 2.12.0, and 2.13.0 on the head"),
        ("optuna", "4.9.0", "warning", "optuna 4.9.0"),
    ],
)
def test_versions_that_differ_from_the_heads(package: str, version: str | None, severity: str, said: str) -> None:
    (found,) = findings(report(node("w1"), vitals(packages=vitals().packages | {package: version})))

    assert (found.severity, found.code) == (severity, "version")
    assert said in found.message
    assert found.remedy.startswith(f"pip install {package}==")


def test_a_newer_cuda_of_the_same_major_version_is_no_fault() -> None:
    """CUDA's minor version compatibility: what is built for 12.8 runs with a driver of 12.4."""
    assert findings(report(node("w1"), vitals(driver_cuda="12.4"))) == []


@pytest.mark.parametrize(
    ("ahead_s", "error_s", "severity"),
    [(0.9, 0.01, None), (-3.0, 0.1, "warning"), (90.0, 0.1, "error"), (4.0, 3.5, None)],
)
def test_a_clock_is_wrong_beyond_what_the_measurement_may_be(
    ahead_s: float, error_s: float, severity: str | None
) -> None:
    found = findings(report(node("w1"), vitals(), clock_ahead_s=ahead_s, clock_error_s=error_s))

    assert [finding.severity for finding in found] == ([severity] if severity else [])
    assert all(("ahead of" if ahead_s > 0 else "behind") in finding.message for finding in found)


def test_a_node_that_does_not_answer_is_a_finding() -> None:
    (found,) = findings(NodeReport(node=node("w1"), trouble="no answer in 60 s"))

    assert (found.severity, found.code, found.message) == ("error", "no_answer", "no answer in 60 s")


def test_lost_nodes_and_those_set_aside_are_told() -> None:
    lost = NodeReport(node=node("w1", state=NodeState.LOST, reason="it died"))
    aside = report(node("w2", state=NodeState.ASIDE, reason="three trials in a row failed"), vitals())

    assert [(f.severity, f.code) for f in findings(lost, aside)] == [
        ("warning", "node_lost"),
        ("warning", "node_set_aside"),
    ]


def test_storage_connections_and_the_door() -> None:
    broken = report(
        node("w1"), vitals(), storage={RUNS: "it can't be written: Read-only file system"}, unreachable=["10.0.0.4:2"]
    )
    head = Head(lets_strangers_in=True, dashboard="10.0.0.4:8265")

    assert [(f.severity, f.code, f.place) for f in findings(broken, head=head)] == [
        ("error", "auth_off", "head"),
        ("warning", "open_port", "head"),
        ("error", "storage", "w1 (10.0.0.2)"),
        ("error", "unreachable", "w1 (10.0.0.2)"),
    ]
