"""What is killed while a sweep runs: nothing is lost, nothing comes twice, and it ends as if nothing had happened."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.integration.conftest import HERE, Service, Submit, processes_of, until
from toprung.client import SweepHandle
from toprung.errors import Conflict
from toprung.tuning.records import Action, SweepState, TrialState
from toprung.tuning.search import Search

STEPS = 9


def kill(process: psutil.Process) -> None:
    os.kill(process.pid, signal.SIGKILL)


def has_come_to(sweep: SweepHandle, step: int) -> bool:
    return any(t.record.step >= step and not t.record.state.finished for t in sweep.trials())


def num_paused(sweep: SweepHandle) -> int:
    return sum(t.record.state is TrialState.PAUSED for t in sweep.trials())


def check_untouched(sweep: SweepHandle, *, same_configurations: bool = True) -> None:
    """Each trial has each of its steps once, with its own value.

    Args:
        sweep: one that has ended.
        same_configurations: whether they must be those of the seed, as with random search.
    """
    spec = sweep.record.spec
    search = Search(spec.space, spec.metric.goal, spec.search, ())
    trials = list(sweep.trials())
    assert [t.number for t in trials] == list(range(spec.budget.trials or 0))
    for trial in trials:
        assert not same_configurations or trial.record.params == search.ask(trial.number)
        results = trial.results()
        assert [r.step for r in results] == list(range(1, 1 + trial.record.step))
        x = trial.record.params["x"]
        assert [r.metrics["loss"] for r in results] == [1.0 / (r.step * (1 + x)) for r in results]
        assert trial.record.state.finished
    assert sweep.record.num_results == sum(t.record.step for t in trials)
    finished = [t.record.value for t in trials if t.record.value is not None]
    assert sweep.best().value == min(finished)


def came_back(sweep: SweepHandle) -> list[str]:
    """What trials that came back say first."""
    return [line for t in sweep.trials() if t.record.attempt > 1 for line in "".join(t.logs()).splitlines()[:1]]


def test_a_sweep_goes_on_when_its_runner_is_killed(service: Service, submit: Submit) -> None:
    sweep = submit("learns_slowly", budget={"trials": 4}, scheduler={"type": "none"}, concurrency=2, wait=False)
    until(lambda: has_come_to(sweep, 4), timeout_s=120, what="a trial on its way")
    (runner,) = processes_of(service, "RunnerActor")

    kill(runner)

    assert sweep.wait(timeout_s=120, progress=False).state is SweepState.SUCCEEDED
    check_untouched(sweep)
    assert all(t.record.state is TrialState.COMPLETED and t.record.step == STEPS for t in sweep.trials())
    starts = came_back(sweep)
    assert starts
    assert any(line != "from step 0" for line in starts), "one at least goes on from its checkpoint"
    assert any("runner was lost" in e.data["message"] for e in sweep.events() if e.type == "warning")


def test_paused_trials_wait_for_their_promotion_when_the_runner_is_killed(service: Service, submit: Submit) -> None:
    scheduler = {"type": "asha", "max_t": STEPS, "grace_period": 1, "reduction_factor": 3, "mode": "promote"}
    sweep = submit("learns_slowly", budget={"trials": 9}, scheduler=scheduler, concurrency=2, wait=False)
    until(lambda: num_paused(sweep) >= 3, timeout_s=120, what="paused trials")
    (runner,) = processes_of(service, "RunnerActor")

    kill(runner)

    assert sweep.wait(timeout_s=120, progress=False).state is SweepState.SUCCEEDED
    check_untouched(sweep)
    decisions = list(sweep.decisions())
    places = [(d.number, d.rung, d.action) for d in decisions]
    assert len(set(places)) == len(places)
    promoted = [d for d in decisions if d.action is Action.PROMOTE]
    assert {d.rung for d in promoted} == {1, 3}
    assert all(d.rank <= d.places for d in promoted)
    best = min(sweep.trials(), key=lambda t: -t.record.params["x"])
    assert (best.record.state, best.record.step) == (TrialState.COMPLETED, STEPS)


def test_a_paused_sweep_holds_nothing_and_goes_on(service: Service, submit: Submit) -> None:
    sweep = submit("learns_slowly", budget={"trials": 4}, scheduler={"type": "none"}, concurrency=2, wait=False)
    until(lambda: has_come_to(sweep, 4), timeout_s=120, what="a trial on its way")

    sweep.pause()

    until(lambda: sweep.refresh().state is SweepState.PAUSED, timeout_s=120, what="the pause")
    assert not {t.record.state for t in sweep.trials()} & {TrialState.RUNNING, TrialState.CANCELLED}
    until(lambda: not processes_of(service, "RunnerActor"), what="the runner's end")
    until(lambda: not processes_of(service, "ImplicitFunc"), what="the workers' end")
    sweep.resume()
    with pytest.raises(Conflict):
        sweep.resume()
    assert sweep.wait(timeout_s=120, progress=False).state is SweepState.SUCCEEDED
    check_untouched(sweep)
    assert all(t.record.state is TrialState.COMPLETED and t.record.step == STEPS for t in sweep.trials())
    assert any(line != "from step 0" for line in came_back(sweep))


def test_failures_are_counted_across_runners(service: Service, submit: Submit, tmp_path: Path) -> None:
    sweep = submit(
        "fails_but_in_its_second_attempt",
        parameters={"folder": str(tmp_path), "x": {"type": "float", "low": 0.0, "high": 1.0}},
        budget={"trials": 1},
        failures={"max_retries": 1},
        wait=False,
    )
    until(lambda: any(t.record.step and t.record.attempt == 2 for t in sweep.trials()), timeout_s=120, what="a retry")
    (runner,) = processes_of(service, "RunnerActor")

    kill(runner)

    assert sweep.wait(timeout_s=120, progress=False).state is SweepState.FAILED
    trial = sweep.trial(0).record
    assert (trial.state, trial.attempt) == (TrialState.FAILED, 3), (
        "a lost attempt counts for nothing, a failed one does"
    )
    assert trial.failure is not None
    assert trial.failure.message == "RuntimeError: a fault that stays"
    assert len(list(tmp_path.iterdir())) == 3


def test_a_runner_that_its_sweep_kills_is_not_started_for_ever(submit: Submit) -> None:
    sweep = submit("train", folder="deadly")

    assert sweep.state is SweepState.FAILED
    assert "its runner died 3 times without a result in between" in (sweep.record.reason or "")


OUTLIVES = {
    "name": "outlives",
    "trainable": "trainables:learns_slowly",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "search": {"algorithm": "random", "seed": 1},
    "budget": {"trials": 3},
    "concurrency": 2,
    "tracking": {"tensorboard": False},
}


@contextlib.contextmanager
def started_again(first: Service) -> Iterator[Service]:
    """Another service on the folder of one that is gone."""
    second = Service(first.home, "--num-cpus", "2")
    try:
        yield second
    finally:
        second.stop()


@pytest.mark.deep
def test_a_sweep_outlives_its_machine(tmp_path: Path) -> None:
    """All processes of the service are killed; a new one on the same folder goes on."""
    first = Service(tmp_path / "home", "--num-cpus", "2")
    try:
        sweep = first.client.submit(OUTLIVES, code=HERE / "userland")
        until(lambda: has_come_to(sweep, 4), timeout_s=120, what="a trial on its way")
    finally:
        first.kill()
    with started_again(first) as second:
        again = second.client.sweep(sweep.id)
        assert again.wait(timeout_s=120, progress=False).state is SweepState.SUCCEEDED
        check_untouched(again)
        assert any(line != "from step 0" for line in came_back(again))


@pytest.mark.deep
def test_a_sweep_outlives_rays_own_store(tmp_path: Path) -> None:
    """Ray's GCS is killed alone. The service's Ray doesn't live without it: the service ends, the next one goes on."""
    first = Service(tmp_path / "home", "--num-cpus", "2")
    try:
        sweep = first.client.submit({**OUTLIVES, "budget": {"trials": 12}}, code=HERE / "userland")
        until(lambda: has_come_to(sweep, 4), timeout_s=120, what="a trial on its way")
        (gcs,) = (p for p in psutil.Process(first.process.pid).children(recursive=True) if p.name() == "gcs_server")
        kill(gcs)
        until(lambda: first.process.poll() is not None, timeout_s=150, what="the service's end")
    finally:
        first.kill()
    with started_again(first) as second:
        again = second.client.sweep(sweep.id)
        assert again.wait(timeout_s=180, progress=False).state is SweepState.SUCCEEDED
        check_untouched(again)
