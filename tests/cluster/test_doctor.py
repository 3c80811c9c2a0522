"""`toprung cluster doctor` between machines, one of them with all that can be wrong."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.hosts import Lab, lab_of, why_not
from tests.cluster.started import ENV, Started
from tests.integration.conftest import until

pytestmark = [pytest.mark.deep, pytest.mark.skipif(why_not() is not None, reason=f"{why_not()}")]

AHEAD_S = 90
CLOCK = f"import time\n_now = time.time\ntime.time = lambda: _now() + {AHEAD_S}\n"
"""The kernel has one clock for all namespaces: the only fault here that is made up, in Python alone."""


@pytest.fixture
def cluster() -> Iterator[tuple[Lab, Started]]:
    with lab_of("trd", "10.213.8", head=11, w1=21, w2=22) as lab:
        yield lab, Started(lab)


def test_each_fault_of_a_machine_is_found_and_others_are_well(cluster: tuple[Lab, Started]) -> None:
    lab, started = cluster
    well, ill = started.add("w1", "--num-cpus=1"), lab["w2"]
    packages = ill.home / "packages"
    (packages / "toprung-0.0.9.dist-info").mkdir(parents=True)
    (packages / "toprung-0.0.9.dist-info" / "METADATA").write_text("Name: toprung\nVersion: 0.0.9\n")
    (packages / "sitecustomize.py").write_text(CLOCK)
    ill.ok("mkdir /tmp/ray && mount -t tmpfs -o mode=1777,size=300m own /tmp/ray")
    ill.ok(f"mount --bind {started.runs} {started.runs} && mount -o remount,bind,ro {started.runs}")
    started.add("w2", "--num-cpus=1 --num-gpus=1", env={"PYTHONPATH": f"{Path.home()}/packages:{ENV['PYTHONPATH']}"})

    found = started.toprung("cluster doctor", code=2)

    by_place: dict[str, dict[str, str]] = {place: {} for place in ("head", "w1", "w2")}
    for finding in found["findings"]:
        by_place[finding["place"].split()[0]][finding["code"]] = finding["message"]
    ours = importlib.metadata.version("toprung")
    told = by_place["w2"]
    assert set(told) - {"few_files"} == {"version", "gpu_count", "disk_small", "clock", "storage"}
    assert told["version"] == f"toprung 0.0.9, and {ours} on the head"
    assert "Ray counts 1 GPU, and no NVIDIA driver answers" in told["gpu_count"]
    assert f"{AHEAD_S}." in told["clock"] or f"{AHEAD_S - 1}." in told["clock"]
    assert "ahead of the head's" in told["clock"]
    assert "Read-only file system" in told["storage"]
    assert {report["trouble"] for report in found["nodes"]} == {None}
    # how many files are allowed, and how much room the test's own disk has, is this machine's affair
    assert set(by_place["w1"]) <= {"few_files"}
    assert set(by_place["head"]) <= {"few_files", "disk_small", "disk_full"}

    well.ok("kill -STOP $(pgrep -x raylet)")
    hung = started.toprung("cluster doctor", code=2)

    (silent,) = [finding for finding in hung["findings"] if finding["code"] in ("no_answer", "node_lost")]
    assert silent["place"].startswith("w1")
    status = {node["name"]: node for node in started.toprung("cluster status")["nodes"]}
    assert status["head"]["is_head"]
    assert status["w2"]["gpus"] == 1
    until(
        lambda: started.get("/v1/cluster")["nodes"][-1]["state"] == "lost",
        timeout_s=120,
        what="w1 among the lost",
    )
