"""Trials that have several workers, in the service: stopped, tried again and ended together."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import WAIT_S, Service, Submit, processes_of, until
from toprung.tuning.records import FailureKind, SweepState, TrialState

pytestmark = pytest.mark.slow


def test_the_workers_of_a_trial_are_stopped_and_tried_again_together(
    service: Service, submit: Submit, tmp_path: Path
) -> None:
    spec: dict[str, Any] = {
        "trainable": "worker_trainables:several_workers",
        "parameters": {
            "x": {"type": "float", "low": 0.0, "high": 0.5},
            "does": "dies once",
            "flag": str(tmp_path / "died"),
        },
        "search": {"points": [{"x": 0.0}, {"x": 0.5}]},
        "resources": {"workers": 2, "cpu": 1},
        "concurrency": 1,
        "scheduler": {"type": "asha", "max_t": 3, "grace_period": 1, "reduction_factor": 3, "mode": "stop"},
        "failures": {"max_retries": 1},
    }
    sweep = submit("several", **spec, wait=False)
    assert service.client.validate(sweep.record.spec.model_dump(mode="json")).slots == 2, "of four CPUs"
    sweep.wait(timeout_s=3 * WAIT_S, progress=False)
    assert sweep.state is SweepState.SUCCEEDED, sweep.record.reason
    better, worse = sweep.trials()
    assert (better.record.state, better.record.num_failures) == (TrialState.COMPLETED, 1)
    assert (worse.record.state, worse.record.step, worse.record.num_failures) == (TrialState.PRUNED, 1, 0)
    # both ranks had added their number at each step, and none twice
    assert [r.metrics["loss"] for r in better.results()] == [3.0, 6.0, 9.0]
    first, last = ("".join(better.logs(attempt=attempt)) for attempt in (1, 2))
    assert "worker 0 begins after step 0" in first
    assert re.search(r"^\[rank 1\] worker 1 begins after step [12]", last, re.MULTILINE)
    drawn = [line.split()[-1] for line in (first + last).splitlines() if "begins after" in line]
    assert len({*drawn}) == len(drawn) >= 3, "each rank has random numbers of its own, and each attempt"
    until(lambda: not processes_of(service, "RayTrainWorker"), what="the end of all workers")


@pytest.mark.deep
def test_what_a_worker_fails_with_and_the_end_of_those_that_hang(
    service: Service, submit: Submit, tmp_path: Path
) -> None:
    flag = tmp_path / "hangs"
    spec: dict[str, Any] = {
        "trainable": "worker_trainables:several_workers",
        "parameters": {"x": 0.0, "does": {"type": "categorical", "choices": ["is full", "hangs"]}, "flag": str(flag)},
        "search": {"algorithm": "grid"},
        "resources": {"workers": 2, "cpu": 1},
    }
    sweep = submit("several", **spec, wait=False)
    until(flag.exists, timeout_s=2 * WAIT_S, what="the worker that hangs")
    (hangs,) = (trial for trial in sweep.trials() if trial.record.config["does"] == "hangs")
    assert len(processes_of(service, "RayTrainWorker")) >= 2
    assert hangs.stop().stop_requested
    sweep.wait(timeout_s=2 * WAIT_S, progress=False)
    (full,) = (trial for trial in sweep.trials() if trial.number != hangs.number)
    failure = full.record.failure
    assert failure is not None
    assert failure.kind is FailureKind.GPU_OOM
    assert "in misbehave" in (failure.traceback or "")
    assert "in misbehave" in "".join(full.logs())
    assert hangs.refresh().state is TrialState.CANCELLED
    until(lambda: not processes_of(service, "RayTrainWorker"), what="the end of all workers")
