"""A node on which trials fail, and one that is drained, on a cluster of real raylets with the service joined to it."""

from __future__ import annotations

import contextlib
import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # not in Ray's stubs
from ray.cluster_utils import Cluster
from ray.core.generated.autoscaler_pb2 import DRAIN_NODE_REASON_PREEMPTION

from tests.cluster.test_nodes import NODE, cluster, service, submit
from tests.integration.conftest import WAIT_S, Service, until
from toprung.client import SweepHandle
from toprung.tuning.records import SweepState, TrialState

__all__ = ["cluster", "service"]

logger = logging.getLogger(__name__)

SLOW_S = 400.0
"""Each attempt is a process that loads PyTorch."""
VISION = {"team": "vision"}


@pytest.fixture
def machines(cluster: Cluster) -> Iterator[Callable[[int], Any]]:
    """Adds nodes with so many CPUs, each with a folder of its own: it takes what is there along when it ends."""
    with contextlib.ExitStack() as folders:

        def add(num_cpus: int) -> Any:
            # not `tmp_path`: paths of sockets must be short
            folder = folders.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))
            return cluster.add_node(num_cpus=num_cpus, labels=VISION, temp_dir=folder, **NODE)

        yield add


def on(sweep: SweepHandle) -> dict[int, str]:
    """On which node each running trial is, as the trials say themselves."""
    running = [trial for trial in sweep.trials() if trial.record.state is TrialState.RUNNING]
    said = {trial.number: trial.record.metrics.get("node") for trial in running}
    return {number: str(node) for number, node in said.items() if node}


def failed(sweep: SweepHandle) -> set[int]:
    return {trial.number for trial in sweep.trials() if trial.record.state is TrialState.FAILED}


@pytest.mark.deep
def test_a_sick_node_is_set_aside_and_a_drained_one_is_left(
    cluster: Cluster, service: Service, machines: Callable[[int], Any], tmp_path: Path
) -> None:
    gate, sick = tmp_path / "gate", tmp_path / "sick"
    sick.mkdir()
    good, bad = machines(2), machines(1)
    (sick / bad.node_id).touch()
    spec: dict[str, Any] = {
        "trainable": "trainables:fails_on_sick_nodes",
        "parameters": {
            "x": {"type": "float", "low": 0.0, "high": 1.0},
            "until": str(gate),
            "sick": str(sick),
        },
        "resources": {"labels": VISION},
        "concurrency": 3,
        "budget": {"trials": 7},
    }
    sweep = submit(service, "sick", gate, **spec)

    (aside,) = until(service.client.set_aside, timeout_s=SLOW_S, what="a node that is set aside")
    assert aside.node_id == bad.node_id
    assert aside.reason == "RuntimeError: the GPU has fallen off the bus"
    assert len(aside.trials) == 3
    until(lambda: set(aside.trials) <= failed(sweep), what="the end of those trials")
    until(lambda: set(on(sweep).values()) == {good.node_id}, timeout_s=SLOW_S, what="trials on the good node alone")

    (sick / bad.node_id).unlink()
    assert service.client.take_back(bad.node_id) == [aside]
    until(lambda: set(on(sweep).values()) == {good.node_id, bad.node_id}, timeout_s=SLOW_S, what="its return")
    (moving,) = [number for number, node in on(sweep).items() if node == bad.node_id]
    other = machines(1)
    before = sweep.trial(moving).record

    began = time.monotonic()
    gone_at_ms = int((time.time() + 300) * 1000)
    accepted, why_not = GcsClient(cluster.address).drain_node(
        bad.node_id, DRAIN_NODE_REASON_PREEMPTION, "a test", gone_at_ms
    )
    assert accepted, why_not
    until(lambda: on(sweep).get(moving) == other.node_id, timeout_s=SLOW_S, what="the trial elsewhere")
    logger.info("it reported from another node %.1f s after the notice", time.monotonic() - began)

    gate.touch()
    assert sweep.wait(timeout_s=WAIT_S, progress=False).state is SweepState.SUCCEEDED, sweep.record.reason
    moved = sweep.trial(moving)
    assert (moved.record.attempt, moved.record.num_failures) == (2, 0)
    assert [result.step for result in moved.results()] == list(range(1, moved.record.step + 1))
    second = next(result for result in moved.results() if result.attempt == 2)
    assert second.step > before.step
    said = [event.data["message"] for event in sweep.events() if event.type == "warning"]
    assert any("is set aside and gets no new trials" in text for text in said)
    assert any("is going away: its trials move" in text for text in said)
