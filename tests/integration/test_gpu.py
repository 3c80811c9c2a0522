"""What only a GPU can show: trials that share one, what they are charged, who gets its parts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from tests.integration.conftest import HERE, WAIT_S, Service, until
from toprung.client import SweepHandle
from toprung.tuning.records import FailureKind, SweepState, TrialState

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]

PRICE = 3.6
"""Of an hour: a tenth of a cent a second."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One that has prices, and a GPU of which it is told nothing."""
    home = tmp_path_factory.mktemp("gpu") / "home"
    home.mkdir()
    (home / "config.yaml").write_text(f"prices: {{any: {PRICE}}}\n")
    running = Service(home, "--num-cpus", "8")
    yield running
    running.stop()


def submit(service: Service, trainable: str, **changes: Any) -> SweepHandle:
    spec = {
        "name": trainable.replace("_", "-"),
        "trainable": f"trainables:{trainable}",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "search": {"algorithm": "random", "seed": 1},
        "resources": {"cpu": 1, "gpu": 0.25},
        "budget": {"trials": 4},
        "failures": {"max_retries": 0},
        "tracking": {"tensorboard": False},
        **changes,
    }
    return service.client.submit(spec, code=HERE / "userland")


def ended(sweep: SweepHandle) -> SweepHandle:
    sweep.wait(timeout_s=WAIT_S, progress=False)
    return sweep


def test_trials_share_a_gpu_and_are_charged_for_their_part(service: Service) -> None:
    sweep = ended(submit(service, "on_a_gpu"))
    assert sweep.state is SweepState.SUCCEEDED, sweep.record.reason
    trials = list(sweep.trials())
    assert {(t.record.metrics["loss"], t.record.metrics["devices"]) for t in trials} == {(8.0, 1)}
    assert 0 < sweep.record.gpu_hours < 4 * 0.25 * WAIT_S / 3600
    assert sweep.record.cost == pytest.approx(PRICE * sweep.record.gpu_hours)
    assert sum(t.record.gpu_hours for t in trials) == pytest.approx(sweep.record.gpu_hours)


def test_a_budget_of_gpu_hours_ends_a_sweep(service: Service) -> None:
    seconds = 4.0
    budget = {"trials": 1_000, "gpu_hours": seconds / 3600}
    sweep = ended(submit(service, "endless_on_a_gpu", budget=budget))
    assert "GPU-hours is used up" in (sweep.record.reason or "")
    assert sweep.record.gpu_hours * 3600 == pytest.approx(seconds, abs=3.0), "until the trials' next reports"


def test_parts_of_a_gpu_are_shared_among_sweeps(service: Service) -> None:
    large = submit(service, "endless_on_a_gpu", budget={"trials": 40})
    until(lambda: large.refresh().trials.get(TrialState.RUNNING) == 4, timeout_s=60, what="four trials on the GPU")
    small = submit(service, "endless_on_a_gpu", budget={"trials": 40}, preemption=True)
    until(lambda: small.refresh().trials.get(TrialState.RUNNING) == 2, timeout_s=60, what="its half of the GPU")
    assert large.refresh().trials.get(TrialState.RUNNING) == 2
    for sweep in (large, small):
        sweep.cancel()
        ended(sweep)


def test_a_trial_that_is_too_large_is_told_apart(service: Service) -> None:
    sweep = ended(submit(service, "too_large_for_a_gpu", budget={"trials": 1}))
    failure = sweep.trial(0).record.failure
    assert failure is not None
    assert failure.kind is FailureKind.GPU_OOM, failure


def test_memory_comes_back_when_a_sweep_is_over(service: Service) -> None:
    def free_mb() -> float:
        return float(torch.cuda.mem_get_info()[0] / 2**20)

    ended(submit(service, "on_a_gpu", budget={"trials": 1}))  # what stays after a first sweep: workers that wait
    before = free_mb()
    sweep = submit(service, "endless_on_a_gpu", budget={"trials": 40})
    until(lambda: sweep.refresh().trials.get(TrialState.RUNNING) == 4, timeout_s=60, what="four trials on the GPU")
    assert free_mb() < before
    sweep.cancel()
    ended(sweep)
    until(lambda: free_mb() >= before - 50, timeout_s=60, what="the memory of the trials")
