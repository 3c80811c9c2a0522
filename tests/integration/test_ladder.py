"""Trials whose memory runs out are tried again with more, on a machine that is said to have a GPU."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import HERE, WAIT_S, Service, processes_of, until
from toprung.client import SweepHandle
from toprung.tuning.records import FailureKind, SweepState, TrialState


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("ladder") / "home", "--num-cpus", "4", "--num-gpus", "1")
    yield running
    running.stop()


def submitted(service: Service, of: str, needs: list[float], gate: Path, **changes: Any) -> SweepHandle:
    spec = {
        "trainable": "trainables:needs_more",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"needs": {"type": "categorical", "choices": needs}, "of": of, "gate": str(gate)},
        "search": {"algorithm": "grid"},
        "budget": {"trials": len(needs)},
        "tracking": {"tensorboard": False},
        **changes,
    }
    return service.client.submit(spec, code=HERE / "userland")


def ended(sweep: SweepHandle) -> SweepHandle:
    sweep.wait(timeout_s=WAIT_S, progress=False)
    assert sweep.state is SweepState.SUCCEEDED, sweep.record.reason
    return sweep


def seen(sweep: SweepHandle, number: int) -> list[tuple[int, int, Any]]:
    """Each result's step and attempt, and what the trial had."""
    return [(result.step, result.attempt, result.metrics["has"]) for result in sweep.trial(number).results()]


@pytest.mark.deep
def test_host_memory_also_where_the_runner_dies(service: Service, tmp_path: Path) -> None:
    ladder = [{"memory_gb": 1e6}, {"memory_gb": 0.5, "cpu": 2}]
    resources = {"memory_gb": 0.25, "ladder": ladder}
    gate = tmp_path / "gate"
    sweep = submitted(service, "memory", [0.4e9, 9e9], gate, resources=resources, failures={"max_retries": 9})
    states = {TrialState.RUNNING: 1, TrialState.FAILED: 1}
    until(lambda: sweep.refresh().trials == states and len(seen(sweep, 0)) == 2, timeout_s=WAIT_S, what="the climb")
    (runner,) = processes_of(service, "RunnerActor")
    runner.kill()
    gate.touch()

    climber, hopeless = (trial.record for trial in ended(sweep).trials())
    assert (climber.state, climber.attempt, climber.ladder_step) == (TrialState.COMPLETED, 3, 2)
    assert climber.num_failures == 0
    assert seen(sweep, 0) == [(1, 1, 0.25e9), (2, 2, 0.5e9), (3, 3, 0.5e9)]
    assert (hopeless.state, hopeless.attempt, hopeless.ladder_step) == (TrialState.FAILED, 2, 2)
    assert hopeless.failure is not None
    assert hopeless.failure.kind is FailureKind.HOST_OOM
    warnings = [event.data["message"] for event in sweep.events() if event.type == "warning"]
    assert sum("step 1 of resources.ladder (memory_gb 1e+06)" in warning for warning in warnings) == 1


@pytest.mark.deep
def test_a_whole_gpu_instead_of_a_part(service: Service, tmp_path: Path) -> None:
    """Others have the parts meanwhile, and their workers would keep them."""
    needs = [0.0, 0.6, 0.1, 0.2]
    sweep = ended(submitted(service, "GPU", needs, tmp_path, resources={"gpu": 0.5, "ladder": [{"gpu": 1}]}))
    climber = sweep.trial(1).record
    assert (climber.state, climber.attempt, climber.ladder_step) == (TrialState.COMPLETED, 2, 1)
    assert seen(sweep, 1) == [(1, 1, 0.5), (2, 2, 1.0), (3, 2, 1.0)]
    others = [trial.record for trial in sweep.trials() if trial.number != 1]
    assert {(trial.state, trial.attempt) for trial in others} == {(TrialState.COMPLETED, 1)}


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of 100 MB."""
    groups = Path("/sys/fs/cgroup")
    path = limited(groups / "memory", "memory.limit_in_bytes") or limited(groups, "memory.max")
    if path is None:
        pytest.skip("a control group of one's own can't be had here")
    yield path
    until(lambda: not (path / "cgroup.procs").read_text(), what="an empty group")
    path.rmdir()


def limited(root: Path, limit: str) -> Path | None:
    path = root / f"toprung-test-{os.getpid()}"
    with suppress(OSError):
        path.mkdir()
        if (path / limit).exists():
            (path / limit).write_text(str(100 * 1024**2))
            return path
        path.rmdir()
    return None


@pytest.mark.deep
def test_a_worker_that_the_kernel_kills(service: Service, group: Path) -> None:
    sweep = service.client.submit(
        {
            "trainable": "trainables:small_group",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {"how": {"type": "categorical", "choices": ["enters", "eats"]}, "group": str(group)},
            "search": {"algorithm": "grid"},
            "budget": {"trials": 2},
            "concurrency": 1,
            "failures": {"max_retries": 0},
            "tracking": {"tensorboard": False},
        },
        code=HERE / "userland",
    )
    sweep.wait(timeout_s=WAIT_S, progress=False)
    entered, killed = (trial.record for trial in sweep.trials())
    assert entered.state is TrialState.COMPLETED
    assert killed.failure is not None
    assert killed.failure.kind is FailureKind.HOST_OOM, killed.failure
    assert "the kernel killed the worker" in killed.failure.message
