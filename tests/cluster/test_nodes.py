"""Shares on a cluster whose nodes come and go: real raylets, and the service joined to them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from tests.integration.conftest import HERE, WAIT_S, Service, free_port, until
from toprung import Client
from toprung.client import SweepHandle
from toprung.tuning.records import FailureKind, SweepState, TrialState

NODE: dict[str, Any] = {"object_store_memory": 80 * 2**20}


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head with two CPUs, as far as Ray counts."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    # a port of its own: where the usual one is taken, Ray leaves a socket open, and pytest complains
    dashboard = {"include_dashboard": False, "dashboard_port": free_port()}
    running = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, **dashboard, **NODE})
    yield running
    running.shutdown()


@pytest.fixture
def folder() -> Iterator[str]:
    """Of a second node, as if it were another machine: it takes what is there along when it dies.

    Not `tmp_path`: paths of sockets must be short.
    """
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as path:
        yield path


@pytest.fixture
def service(cluster: Cluster, tmp_path: Path) -> Iterator[Service]:
    joined = Service(tmp_path / "home", "--address", cluster.address)
    yield joined
    joined.stop()


def submit(service: Service, name: str, gate: Path, **changes: Any) -> SweepHandle:
    """Three trials that run until the gate opens, none of which may fail."""
    spec = {
        "name": name,
        "trainable": "trainables:holds_on",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}, "until": str(gate)},
        "search": {"algorithm": "random", "seed": 1},
        "scheduler": {"type": "none"},
        "budget": {"trials": 3},
        "failures": {"max_retries": 0},
        "tracking": {"tensorboard": False},
        **changes,
    }
    return service.client.submit(spec, code=HERE / "userland")


@pytest.mark.slow
def test_shares_follow_the_nodes_and_a_lost_node_is_no_failure(
    folder: str, cluster: Cluster, service: Service, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    # one at first: it could begin two trials before the other sweep is there
    one = submit(service, "one", gate, concurrency=1)
    sweeps = [one, submit(service, "other", gate)]

    def running() -> list[int]:
        return [sweep.refresh().trials.get(TrialState.RUNNING, 0) for sweep in sweeps]

    until(lambda: running() == [1, 1], timeout_s=120, what="a trial of each on the head")
    one.edit(concurrency=3)
    node = cluster.add_node(num_cpus=4, temp_dir=folder, **NODE)
    until(lambda: running() == [3, 3], timeout_s=120, what="shares of two nodes")
    until(lambda: all(t.record.resume_from for s in sweeps for t in s.trials()), what="checkpoints")

    node.kill_raylet()

    until(lambda: running() == [1, 1], timeout_s=120, what="shares of the head alone")
    gate.touch()
    for sweep in sweeps:
        assert sweep.wait(timeout_s=WAIT_S, progress=False).state is SweepState.SUCCEEDED, sweep.record.reason
    assert "auth_off" in {finding.code for finding in service.client.doctor().findings}, "the cluster asks for no token"
    trials = [trial.record for sweep in sweeps for trial in sweep.trials()]
    assert [t.num_failures for t in trials] == [0] * 6, "the machine was at fault"
    assert sorted(t.attempt for t in trials) == [1, 1, 2, 2, 2, 2]
    for sweep in sweeps:
        for trial in sweep.trials():
            assert [r.step for r in trial.results()] == list(range(1, trial.record.step + 1)), (
                "no step is lost or twice"
            )


@pytest.mark.deep
def test_a_step_of_a_ladder_that_no_node_will_have_is_passed_over(service: Service, tmp_path: Path) -> None:
    """The cluster has no autoscaler: who waited for such a node would do so for ever."""
    sweep = submit(
        service,
        "climbs",
        tmp_path / "gate",
        trainable="trainables:needs_more",
        parameters={"needs": {"type": "categorical", "choices": [9e9]}, "of": "memory", "gate": str(tmp_path)},
        resources={"memory_gb": 0.25, "ladder": [{"memory_gb": 1e6}]},
        budget={"trials": 1},
    )

    assert sweep.wait(timeout_s=WAIT_S, progress=False).state is SweepState.FAILED
    failed = sweep.trial(0).record
    assert failed.failure is not None
    assert (failed.failure.kind, failed.ladder_step) == (FailureKind.HOST_OOM, 0)
    warnings = [event.data["message"] for event in sweep.events() if event.type == "warning"]
    assert any("step 1 of resources.ladder (memory_gb 1e+06)" in warning for warning in warnings)


@pytest.mark.deep
def test_a_service_that_was_killed_is_taken_over(cluster: Cluster, tmp_path: Path) -> None:
    """Its process alone: the cluster, the controller and the replica, which listens, go on, and another takes over."""
    first = Service(tmp_path / "home", "--address", cluster.address)
    gate = tmp_path / "gate"
    sweep = submit(first, "goes-on", gate)
    until(lambda: sweep.refresh().trials.get(TrialState.RUNNING, 0) == 2, timeout_s=WAIT_S, what="trials that run")
    first.process.kill()
    first.process.wait()
    assert sweep.refresh().state is SweepState.RUNNING, "the replica still answers"

    second = Service(first.home, "--address", cluster.address, port=first.port)
    try:
        for _ in range(20):  # each by a connection of its own: nobody waits at the door of the first one
            with Client(second.url) as client:
                assert client.sweep(sweep.id).state is SweepState.RUNNING
        gate.touch()
        assert sweep.wait(timeout_s=WAIT_S, progress=False).state is SweepState.SUCCEEDED
        assert [trial.record.attempt for trial in sweep.trials()] == [1, 1, 1]
    finally:
        gate.touch()
        second.stop()
        first.client.close()
