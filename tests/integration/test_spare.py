"""The runner and the worker that wait for a sweep."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from tests.integration.conftest import HERE, Service, Submit, processes_of, until
from toprung.tuning.niceness import NICENESS
from toprung.tuning.records import SweepState


class Waiting(NamedTuple):
    """Those that wait for a sweep, and the folder that its code will be in."""

    runner: psutil.Process
    worker: psutil.Process
    folder: Path


def all_of(service: Service) -> list[psutil.Process]:
    return psutil.Process(service.process.pid).children(recursive=True)


def gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def waiting(service: Service) -> Waiting | None:
    """None while they are still being made."""
    runners = processes_of(service, "ray::RunnerActor", waiting=True)
    workers = processes_of(service, "ray::IDLE", waiting=True)
    with contextlib.suppress(psutil.Error):
        # the last that a worker loads; it takes a trial before, but the tests are to see one that is ready
        if runners and workers and any("libtorch_python" in region.path for region in workers[0].memory_maps()):
            return Waiting(runners[0], workers[0], Path(workers[0].cwd()))
    return None


@pytest.fixture
def spare(service: Service) -> Waiting:
    made = until(lambda: waiting(service), timeout_s=120, what="a spare runner")
    assert made is not None
    return made


def test_the_next_sweep_runs_where_one_waited(service: Service, submit: Submit, spare: Waiting) -> None:
    sweep = submit("tells_where", budget={"trials": 1})

    assert sweep.state is SweepState.SUCCEEDED, sweep.record.reason
    metrics = sweep.trial(0).record.metrics
    assert metrics["process"] == spare.worker.pid
    assert metrics["module"] == str(spare.folder / "trainables.py")
    assert metrics["threads"] == 1, "as many as the trial has CPUs, though PyTorch was loaded before"
    until(lambda: gone(spare.runner) and gone(spare.worker), what="their end")
    another = until(lambda: waiting(service), timeout_s=120, what="another spare runner")
    assert another is not None
    assert another.folder != spare.folder


def test_a_trial_with_two_cpus_has_two_threads(submit: Submit, spare: Waiting) -> None:
    sweep = submit("tells_where", budget={"trials": 1}, resources={"cpu": 2})

    metrics = sweep.trial(0).record.metrics
    assert (metrics["process"], metrics["threads"]) == (spare.worker.pid, 2)


def test_training_gives_way_to_the_service(service: Service, submit: Submit) -> None:
    """Where processors are scarce: Ray would make both as nice."""
    actors = processes_of(service, "ray::ControllerActor")
    assert {process.nice() for process in actors} == {psutil.Process(service.process.pid).nice()}

    assert submit("tells_where", budget={"trials": 1}).trial(0).record.metrics["niceness"] == NICENESS


@pytest.mark.parametrize("folder", ["userland", "namesake"])
def test_a_sweep_runs_its_own_code(submit: Submit, spare: Waiting, folder: str) -> None:
    """Both folders have a module `trainables`, and the sweep before had the other one."""
    sweep = submit("good", folder=folder, budget={"trials": 3})

    until(lambda: gone(spare.runner), what="the end of the runner that waited")
    assert {trial.record.metrics["x"] == -1.0 for trial in sweep.trials()} == {folder == "namesake"}
    assert {path.name for path in spare.folder.iterdir()} - {"__pycache__"} == {
        path.name for path in (HERE / folder).iterdir() if path.suffix == ".py"
    }


def test_a_sweep_without_code(service: Service, spare: Waiting) -> None:
    spec = {
        "name": "without-code",
        "trainable": "toprung.examples.digits.train:train_digits",
        "metric": {"name": "val_loss", "goal": "minimize"},
        "parameters": {
            "lr": {"type": "float", "low": 0.001, "high": 0.01},
            "channels": 4,
            "hidden": 16,
            "batch_size": 64,
            "optimizer": "adam",
            "dropout": 0.1,
            "weight_decay": 0.0,
            "epochs": 1,
        },
        "budget": {"trials": 1},
    }
    sweep = service.client.submit(spec)

    assert sweep.wait(timeout_s=120, progress=False).state is SweepState.SUCCEEDED, sweep.record.reason
    until(lambda: gone(spare.runner), what="the end of the runner that waited")
    assert list(spare.folder.iterdir()) == []


def test_variables_of_a_sweep_stay_with_it(submit: Submit, spare: Waiting) -> None:
    first = submit("tells_where", environment={"env_vars": {"GREETING": "good morning"}}, budget={"trials": 1})
    assert not gone(spare.runner), "one that sets variables has a runner of its own"
    second = submit("tells_where", budget={"trials": 1})

    assert [sweep.trial(0).record.metrics["env"] for sweep in (first, second)] == ["good morning", ""]
    assert second.trial(0).record.metrics["process"] == spare.worker.pid


@pytest.mark.parametrize("victim", ["runner", "worker"])
def test_a_killed_spare_harms_nobody(submit: Submit, spare: Waiting, victim: str) -> None:
    os.kill(getattr(spare, victim).pid, signal.SIGKILL)
    if victim == "runner":
        until(lambda: gone(spare.worker), what="the end of the worker that waited for its trials")

    # for a moment Ray may still give out the worker that is dead: an attempt that fails, as with any worker
    sweep = submit("tells_where", budget={"trials": 1}, failures={"max_retries": 1})

    assert sweep.state is SweepState.SUCCEEDED, sweep.record.reason
    metrics = sweep.trial(0).record.metrics
    assert metrics["process"] != spare.worker.pid
    in_its_folder = metrics["module"] == str(spare.folder / "trainables.py")
    assert in_its_folder == (victim == "worker"), "the runner that is left is of use, and the one that is gone is not"


def test_the_spare_of_a_killed_controller_is_let_go(service: Service, submit: Submit, spare: Waiting) -> None:
    (controller,) = processes_of(service, "ray::ControllerActor")

    os.kill(controller.pid, signal.SIGKILL)

    until(lambda: gone(spare.runner) and gone(spare.worker), timeout_s=120, what="their end")
    another = until(lambda: waiting(service), timeout_s=120, what="another spare runner")
    sweep = submit("tells_where", budget={"trials": 1})
    assert another is not None
    assert sweep.trial(0).record.metrics["process"] == another.worker.pid


def test_a_sweep_that_a_spare_took_up_outlives_the_controller(service: Service, submit: Submit, spare: Waiting) -> None:
    sweep = submit("endless", budget={"wall_time_s": 25}, concurrency=1, wait=False)
    until(lambda: any(t.record.step for t in sweep.trials()), timeout_s=120, what="a first result")
    (controller,) = processes_of(service, "ray::ControllerActor")

    os.kill(controller.pid, signal.SIGKILL)

    assert sweep.wait(timeout_s=120, progress=False).state is SweepState.SUCCEEDED, sweep.record.reason
    assert sweep.record.reason == "the budget of 25 s of wall time is used up"
    steps = [result.step for result in sweep.trial(0).results()]
    assert steps == list(range(1, len(steps) + 1)), "no step is missing or doubled"


def test_a_sweep_whose_spare_died_with_the_controller_is_found_again(
    service: Service, submit: Submit, spare: Waiting
) -> None:
    """Its next runner is none that waited, and the controller's next life must look for that one."""
    sweep = submit("endless", budget={"wall_time_s": 300}, concurrency=1, wait=False)
    until(lambda: any(t.record.step for t in sweep.trials()), timeout_s=120, what="a first result")
    (controller,) = processes_of(service, "ray::ControllerActor")
    for process in (controller, spare.runner):
        os.kill(process.pid, signal.SIGKILL)
    until(lambda: any(t.record.attempt == 2 for t in sweep.trials()), timeout_s=120, what="a second attempt")
    (controller,) = processes_of(service, "ray::ControllerActor")

    os.kill(controller.pid, signal.SIGKILL)

    known = sweep.refresh().num_results
    until(lambda: sweep.refresh().num_results > known, timeout_s=120, what="a result after that")
    sweep.cancel()
    assert sweep.wait(timeout_s=120, progress=False).state is SweepState.CANCELLED, sweep.record.reason
    assert [t.record.attempt for t in sweep.trials()] == [2], "the runner was found"


@pytest.mark.deep
def test_nothing_is_left_when_the_service_stops(tmp_path: Path) -> None:
    service = Service(tmp_path / "home", "--num-cpus", "1")
    try:
        until(lambda: waiting(service), timeout_s=120, what="a spare runner")
        everything = all_of(service)
    finally:
        service.stop()

    until(lambda: all(gone(process) for process in everything), what="the end of all processes")
