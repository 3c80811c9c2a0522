"""What users change of sweeps that are there: with a real service, real runners, real trials."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import WAIT_S, Submit, until
from toprung.client import SweepHandle
from toprung.errors import Conflict, InvalidSpec
from toprung.tuning.records import FailureKind, SweepState, TrialState
from toprung.tuning.search import Search

NO_STOPPING: dict[str, Any] = {"scheduler": {"type": "none"}}


@pytest.fixture
def gate(tmp_path: Path) -> Iterator[Path]:
    """The file for which trials of `holds_on` wait; it is there in the end, so that none is left."""
    path = tmp_path / "gate"
    yield path
    path.touch()


def held(submit: Submit, gate: Path, **changes: Any) -> SweepHandle:
    """A sweep whose trials run until the gate opens."""
    parameters = {"x": {"type": "float", "low": 0.0, "high": 1.0}, "until": str(gate)}
    return submit("holds_on", parameters=parameters, wait=False, **{**NO_STOPPING, **changes})


def ended(sweep: SweepHandle) -> SweepHandle:
    assert sweep.wait(timeout_s=WAIT_S, progress=False).state is SweepState.SUCCEEDED, sweep.record.reason
    return sweep


def num_running(sweep: SweepHandle) -> int:
    return sweep.refresh().trials.get(TrialState.RUNNING, 0)


def test_an_ended_sweep_goes_on_with_what_it_knows(submit: Submit) -> None:
    sweep = ended(submit("good", **NO_STOPPING))
    before = [(t.record, t.results()) for t in sweep.trials()]

    with pytest.raises(InvalidSpec, match="nothing would be left to do"):
        sweep.extend(trials=2)
    with pytest.raises(Conflict, match="extend"):
        sweep.edit(budget={"trials": 4})
    assert sweep.extend(trials=4).state is SweepState.QUEUED

    trials = list(ended(sweep).trials())
    assert [(t.record, t.results()) for t in trials[:2]] == before, "what was there is as it was"
    spec = sweep.record.spec
    search = Search(spec.space, spec.metric.goal, spec.search, ())
    assert [t.params for t in trials] == [search.ask(number) for number in range(4)]
    states = [e.data["state"] for e in sweep.events() if e.type == "sweep.state"]
    assert states == ["queued", "running", "succeeded", "queued", "running", "succeeded"]


def test_failed_trials_are_tried_again_with_mended_code(submit: Submit, tmp_path: Path) -> None:
    sweep = ended(submit("raises_for_some", budget={"trials": 3}, **NO_STOPPING))
    failed = [t for t in sweep.trials() if t.state is TrialState.FAILED]
    assert 0 < len(failed) < 3, "the seed gives both"

    mended = tmp_path / "code"
    mended.mkdir()
    (mended / "trainables.py").write_text(
        "from ray import tune\ndef raises_for_some(config): tune.report({'loss': config['x']})\n"
    )
    assert sweep.retry(code=mended).num_trials == 3 + len(failed)

    again = list(ended(sweep).trials())[3:]
    assert [(t.record.retry_of, t.config) for t in again] == [(t.number, t.config) for t in failed]
    assert all(t.state is TrialState.COMPLETED for t in again)
    assert all(sweep.trial(t.number).state is TrialState.FAILED for t in failed), "what has failed stays so"
    with pytest.raises(Conflict, match="no failed trial"):
        sweep.retry()


def test_configurations_made_by_hand_come_on_top(submit: Submit, gate: Path) -> None:
    own_runner = {"env_vars": {"GREETING": "hello"}}  # it must be possible to begin anew at once
    sweep = held(submit, gate, budget={"trials": 1}, concurrency=2, environment=own_runner)
    until(lambda: num_running(sweep) == 1, timeout_s=120, what="the only trial of the budget")

    sweep.enqueue({"x": 0.25})
    until(lambda: num_running(sweep) == 2, timeout_s=120, what="the trial that was asked for")
    with pytest.raises(InvalidSpec, match="problem"):
        sweep.enqueue({"x": 7})
    gate.touch()
    assert [t.params["x"] for t in ended(sweep).trials()][1:] == [0.25]

    sweep.enqueue({"x": 0.75})
    assert [t.params["x"] for t in ended(sweep).trials()][1:] == [0.25, 0.75]
    assert sweep.record.num_trials == 3


def test_a_trial_that_is_asked_for_during_the_last_promotions_is_tried(submit: Submit) -> None:
    scheduler = {"type": "asha", "max_t": 9, "grace_period": 1, "reduction_factor": 3, "mode": "promote"}
    sweep = submit("learns_slowly", budget={"trials": 3}, scheduler=scheduler, concurrency=1, wait=False)
    until(
        lambda: sweep.refresh().trials.get(TrialState.PAUSED, 0) >= 2, timeout_s=120, what="trials that wait at a rung"
    )
    sweep.enqueue({"x": 0.25})
    trials = list(ended(sweep).trials())
    assert [t.params["x"] for t in trials[3:]] == [0.25]
    assert all(t.state.finished for t in trials)


def test_a_trial_that_hangs_is_stopped_and_the_sweep_goes_on(submit: Submit) -> None:
    sweep = submit("hangs", budget={"trials": 2}, concurrency=1, wait=False, **NO_STOPPING)
    for number in range(2):
        until(lambda: [t for t in sweep.trials() if t.number == number and t.record.step == 1], timeout_s=120)  # noqa: B023
        assert sweep.trial(number).stop().stop_requested
    trials = list(ended(sweep).trials())
    assert [(t.state, t.record.reason, t.value) for t in trials] == [
        (TrialState.CANCELLED, "stopped by the user", 0.5)
    ] * 2
    with pytest.raises(Conflict, match="is over"):
        trials[0].stop()


def test_a_running_sweep_adapts_to_its_concurrency(submit: Submit, gate: Path) -> None:
    sweep = held(submit, gate, budget={"trials": 4}, concurrency=1)
    until(lambda: num_running(sweep) == 1, timeout_s=120, what="the first trial")
    sweep.edit(concurrency=3)
    until(lambda: num_running(sweep) == 3, timeout_s=120, what="three trials at once")
    with pytest.raises(InvalidSpec, match="1 problem"):
        sweep.edit(trainable="other:one")
    gate.touch()
    ended(sweep)


@pytest.mark.parametrize(
    ("trainable", "limits", "attempts", "words"),
    [
        ("lingers", {"report_timeout_s": 2.0, "max_retries": 1}, 2, "reported nothing for"),
        ("endless", {"trial_timeout_s": 2.0, "max_retries": 1}, 1, "took longer than"),
    ],
)
def test_attempts_that_take_too_long_end(
    submit: Submit, trainable: str, limits: dict[str, Any], attempts: int, words: str
) -> None:
    sweep = submit(trainable, budget={"trials": 1}, failures=limits, **NO_STOPPING)
    assert sweep.state is SweepState.FAILED
    trial = sweep.trial(0).record
    assert trial.failure is not None
    assert (trial.failure.kind, trial.attempt) == (FailureKind.TIMEOUT, attempts)
    assert words in trial.failure.message


@pytest.mark.deep
def test_a_small_sweep_gets_its_share_of_a_full_cluster(submit: Submit, gate: Path, tmp_path: Path) -> None:
    large = held(submit, gate, budget={"trials": 40})
    until(lambda: num_running(large) == 4, timeout_s=120, what="a full cluster")
    other = tmp_path / "other"
    small = held(submit, other, budget={"trials": 2}, preemption=True)

    until(lambda: num_running(small) == 2, timeout_s=120, what="the small sweep's share")

    assert num_running(large) == 2
    waiting = [t for t in large.trials(state="pending") if t.record.attempt]
    assert {t.record.reason for t in waiting} == {"made room for another sweep"}
    assert {t.number for t in waiting} == {2, 3}, "the youngest"
    other.touch()
    ended(small)
    until(lambda: num_running(large) == 4, timeout_s=120, what="the cluster for the large one alone")
    came_back = [large.trial(number).record for number in (2, 3)]
    assert all((t.state, t.attempt) == (TrialState.RUNNING, 2) for t in came_back)
    large.cancel()
    large.wait(timeout_s=WAIT_S, progress=False)


@pytest.mark.deep
def test_trials_that_wait_let_a_more_urgent_sweep_pass(submit: Submit, gate: Path, tmp_path: Path) -> None:
    soon = tmp_path / "soon"
    full = held(submit, soon, budget={"trials": 4})
    until(lambda: num_running(full) == 4, what="a full cluster")
    early = held(submit, gate, budget={"trials": 4}, weight=3.0)
    until(lambda: early.refresh().trials.get(TrialState.PENDING) == 3, what="trials that wait for their share")
    urgent = held(submit, gate, budget={"trials": 3}, priority=1)
    until(lambda: urgent.refresh().trials.get(TrialState.PENDING) == 2, what="the same of the urgent one")
    time.sleep(1)  # within it the others are told
    soon.touch()

    until(lambda: num_running(urgent) == 3, timeout_s=120, what="all that the urgent sweep wants")
    until(lambda: num_running(early) == 1, what="the place that is left")
    gate.touch()
    ended(urgent)
    ended(early)


def test_a_sweep_that_has_no_share_lets_its_worker_go(submit: Submit, gate: Path) -> None:
    whole: dict[str, Any] = {"resources": {"cpu": 4}}
    first = held(submit, gate, budget={"trials": 2}, **whole)
    until(lambda: num_running(first) == 1, timeout_s=120, what="a trial on all of the cluster")
    urgent = submit("good", budget={"trials": 1}, priority=1, wait=False, **whole, **NO_STOPPING)
    until(lambda: list(urgent.trials(state="pending")), timeout_s=120, what="a more urgent trial that waits")
    gate.touch()
    ended(urgent)
    ended(first)


def test_a_function_that_is_slow_to_leave_holds_up_the_next_trial_and_loses_none(submit: Submit) -> None:
    sweep = ended(submit("slow_to_leave", budget={"trials": 3}, scheduler={"type": "none", "max_t": 2}, concurrency=1))
    assert [t.state for t in sweep.trials()] == [TrialState.COMPLETED] * 3


def test_a_budget_of_steps_ends_a_sweep_and_says_how_much_is_used(submit: Submit) -> None:
    sweep = submit("good", budget={"trials": 9, "steps": 20}, concurrency=1, **NO_STOPPING)
    assert sweep.record.reason == "the budget of 20 steps is used up"
    assert [e.data["percent"] for e in sweep.events() if e.type == "budget"] == [50, 80, 100]


def test_a_sweep_ends_when_nothing_gets_better(submit: Submit) -> None:
    parameters = {
        "x": {"type": "categorical", "choices": [0.5]},
        "y": {"type": "float", "low": 0.0, "high": 1.0},
        "steps": 2,
    }
    patience = {"no_improvement_trials": 3}
    sweep = submit(
        "good", parameters=parameters, budget={"trials": 30}, stop_when=patience, concurrency=1, **NO_STOPPING
    )
    assert sweep.record.reason == "the last 3 trials brought nothing better (stop_when.no_improvement_trials)"
    assert sum(sweep.record.trials.values()) == 4
