"""What a user's code may do, and the state it ends in."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import Submit, until
from toprung.tuning.records import Action, FailureKind, SweepState, TrialState


def test_a_sweep_with_asha(submit: Submit) -> None:
    sweep = submit(
        "good",
        scheduler={"type": "asha", "max_t": 9, "grace_period": 1, "reduction_factor": 3},
        budget={"trials": 12},
    )

    record = sweep.refresh()
    trials = [trial.record for trial in sweep.trials()]
    assert record.state is SweepState.SUCCEEDED
    assert [trial.number for trial in trials] == list(range(12))
    assert {trial.state for trial in trials} == {TrialState.COMPLETED, TrialState.PRUNED}
    assert record.trials == {state: sum(t.state is state for t in trials) for state in {t.state for t in trials}}
    decisions = {(d.number, d.rung): d for d in sweep.decisions()}
    for trial in trials:
        results = sweep.trial(trial.number).results()
        assert [r.step for r in results] == list(range(1, trial.step + 1)), "no step is missing or doubled"
        assert trial.value == min(r.metrics["loss"] for r in results)  # type: ignore[type-var]
        if trial.state is TrialState.PRUNED:
            assert decisions[trial.number, trial.step].action is Action.STOP
            assert trial.reason is not None
            assert re.match(rf"stopped at rung {trial.step}: .*cutoff .*rank \d+ of \d+", trial.reason)
        else:
            assert trial.step == 9
    best = sweep.best()
    assert best.value == min(t.value for t in trials if t.value is not None)
    assert record.best is not None
    assert (record.best.number, record.best.value) == (best.number, best.value)


PROMOTE = {"type": "asha", "max_t": 9, "grace_period": 1, "reduction_factor": 3, "mode": "promote"}


@pytest.mark.parametrize("trainable", ["learns", "Learns", "SetsUpAgain"])
def test_trials_pause_at_rungs_and_the_best_go_on(submit: Submit, trainable: str) -> None:
    sweep = submit(trainable, scheduler=PROMOTE, budget={"trials": 9}, concurrency=2)

    assert sweep.state is SweepState.SUCCEEDED, sweep.record.reason
    trials = [trial.record for trial in sweep.trials()]
    assert {trial.state for trial in trials} == {TrialState.COMPLETED, TrialState.PRUNED}
    decisions = list(sweep.decisions())
    for trial in trials:
        results = sweep.trial(trial.number).results()
        assert [r.step for r in results] == list(range(1, trial.step + 1)), "no step is missing or doubled"
        if "count" in trial.metrics:
            assert trial.metrics["count"] == trial.step, "it went on from its checkpoint"
    waited = {d.number for d in decisions if d.action is Action.PAUSE}
    went_on = {d.number for d in decisions if d.action is Action.PROMOTE}
    assert len(waited & went_on) >= 1, "at least one was paused and promoted later"
    for trial in trials:
        assert (trial.attempt > 1) == (trial.number in waited & went_on)
    best = min(trials, key=lambda trial: 1.0 / (1 + trial.params["x"]))
    assert best.state is TrialState.COMPLETED, "who leads every rung is trained to the end"


def test_trials_without_checkpoints_are_stopped_instead_of_paused(submit: Submit) -> None:
    sweep = submit("good", scheduler=PROMOTE, budget={"trials": 6})

    assert sweep.state is SweepState.SUCCEEDED, sweep.record.reason
    assert {d.action for d in sweep.decisions()} == {Action.PROMOTE, Action.STOP}
    (warning,) = [event.data["message"] for event in sweep.events() if event.type == "warning"]
    assert "no checkpoint by step 1" in warning


def test_the_median_rule_stops_the_weak_and_says_why(submit: Submit) -> None:
    """Of one trial after the other: three that are good, one that is better, one that is worse."""
    sweep = submit(
        "good",
        search={"algorithm": "random", "seed": 0, "points": [{"x": x} for x in (0.8, 0.7, 0.6, 0.9, 0.0)]},
        scheduler={"type": "median", "max_t": 9, "grace_period": 2},
        budget={"trials": 5},
        concurrency=1,
    )

    assert sweep.state is SweepState.SUCCEEDED, sweep.record.reason
    trials = [trial.record for trial in sweep.trials()]
    assert [trial.params["x"] for trial in trials] == [0.8, 0.7, 0.6, 0.9, 0.0]
    assert [(trial.state, trial.step) for trial in trials] == [(TrialState.COMPLETED, 9)] * 4 + [(TrialState.PRUNED, 2)]
    (decision,) = sweep.decisions()
    assert (decision.number, decision.rung, decision.action) == (4, 2, Action.STOP)
    assert (decision.value, decision.rank, decision.seen) == (0.5, 5, 5)
    # (1 + 1/2) / 2 / (1 + x) at x = 0.7 and 0.8
    assert decision.cutoff == pytest.approx((0.75 / 1.7 + 0.75 / 1.8) / 2)
    assert trials[4].reason == (
        f"stopped at step 2: best 0.5, median {decision.cutoff:.6g} of the averages of 4 others, rank 5 of 5"
    )
    assert sweep.best().params == {"x": 0.9}


@pytest.mark.parametrize(("algorithm", "trials"), [("grid", 3), ("cmaes", 4)])
def test_other_searches(submit: Submit, algorithm: str, trials: int) -> None:
    x = {"type": "float", "low": 0.0, "high": 1.0, "step": 0.5}
    sweep = submit(
        "good",
        name=f"by-{algorithm}",
        parameters={"x": x, "y": {"type": "float", "low": 0, "high": 1}} if algorithm == "cmaes" else {"x": x},
        search={"algorithm": algorithm, "seed": 0},
        budget={"trials": 4},
    )

    assert sweep.state is SweepState.SUCCEEDED, sweep.record.reason
    assert sum(sweep.record.trials.values()) == trials


def test_a_function_that_raises(submit: Submit) -> None:
    sweep = submit("raises")

    assert sweep.state is SweepState.FAILED
    assert "all 2 trials failed; trial 0: ValueError: the layer expects 576" in (sweep.record.reason or "")
    trial = sweep.trial(0)
    failure = trial.record.failure
    assert trial.state is TrialState.FAILED
    assert failure is not None
    assert failure.kind is FailureKind.USER_ERROR
    assert failure.message == "ValueError: the layer expects 576 inputs and gets 512"
    assert failure.traceback is not None
    assert 'trainables.py", line' in failure.traceback
    assert [r.step for r in trial.results()] == [1], "what it reported before is kept"
    log = "".join(trial.logs())
    assert "about to fail" in log
    assert "ValueError: the layer expects 576" in log


@pytest.mark.parametrize(
    "changes",
    [
        {"scheduler": {"type": "asha", "max_t": 100, "grace_period": 20, "reduction_factor": 2}},
        {"scheduler": {"type": "none", "max_t": 77}},
        {"metric": {"name": "loss", "goal": "minimize", "target": 0.02}},
    ],
)
def test_a_fast_trial_takes_no_step_past_its_stop(submit: Submit, changes: dict[str, Any]) -> None:
    sweep = submit("counts", budget={"trials": 4}, concurrency=1, **changes)

    assert sweep.state is SweepState.SUCCEEDED, sweep.record.reason
    for trial in sweep.trials():
        steps = [result.step for result in trial.results()]
        assert steps == list(range(1, trial.record.step + 1)), "no step is missing or doubled"
        said = until(lambda trial=trial: "".join(trial.logs()), what="the log")  # type: ignore[misc]
        assert [int(line) for line in said.split()] == steps


def test_what_a_fast_trial_reported_before_it_failed_is_kept(submit: Submit) -> None:
    sweep = submit("stumbles", budget={"trials": 1})

    assert sweep.trial(0).state is TrialState.FAILED
    assert [result.step for result in sweep.trial(0).results()] == [1, 2, 3, 4]


def test_a_result_does_not_wait_for_the_next(submit: Submit) -> None:
    sweep = submit("lingers", budget={"trials": 1}, wait=False)

    until(lambda: any(t.record.step == 3 for t in sweep.trials()), timeout_s=120, what="the third result")
    sweep.cancel()
    sweep.wait(timeout_s=120, progress=False)


def test_a_sweep_whose_trials_all_fail_alike_ends_early(submit: Submit) -> None:
    sweep = submit("raises", budget={"trials": 500})

    assert sweep.state is SweepState.FAILED
    assert "the first 5 trials failed alike; trial 0: ValueError: the layer expects 576" in (sweep.record.reason or "")
    assert len(list(sweep.trials())) < 50


def test_some_failures_leave_the_sweep_standing(submit: Submit) -> None:
    sweep = submit("raises_for_some", budget={"trials": 8})

    states = {trial.number: trial.state for trial in sweep.trials()}
    assert sweep.state is SweepState.SUCCEEDED
    assert set(states.values()) == {TrialState.COMPLETED, TrialState.FAILED}
    assert states[sweep.best().number] is TrialState.COMPLETED


@pytest.mark.parametrize(
    ("trainable", "kind", "message", "steps"),
    [
        ("returns_at_once", FailureKind.USER_ERROR, "returned without a report", 0),
        ("not_a_number", FailureKind.NON_FINITE_METRIC, "loss was nan at step 2", 2),
        ("misnamed", FailureKind.USER_ERROR, "the report of step 1 has no 'loss'", 1),
        ("vanishes", FailureKind.USER_ERROR, "the worker process ended without an exception", 1),
    ],
)
def test_bad_ends(submit: Submit, trainable: str, kind: FailureKind, message: str, steps: int) -> None:
    sweep = submit(trainable, budget={"trials": 1})

    trial = sweep.trial(0)
    assert sweep.state is SweepState.FAILED
    assert trial.state is TrialState.FAILED
    assert trial.record.failure is not None
    assert trial.record.failure.kind is kind
    assert message in trial.record.failure.message
    assert trial.record.step == steps
    assert len(trial.results()) == steps


def test_infinities_are_stored_as_null(submit: Submit) -> None:
    sweep = submit("not_a_number", budget={"trials": 1})

    first, second = sweep.trial(0).results()
    assert first.metrics == {"loss": 0.5, "other": None}
    assert second.metrics == {"loss": None}


def test_a_passing_fault_is_tried_again_from_the_checkpoint(submit: Submit) -> None:
    sweep = submit("fails_once", budget={"trials": 1}, failures={"max_retries": 1})

    trial = sweep.trial(0)
    assert trial.state is TrialState.COMPLETED
    assert trial.record.attempt == 2
    assert [(r.step, r.attempt) for r in trial.results()] == [(1, 1), (2, 1), (3, 1), (4, 2), (5, 2)]


def test_a_worker_that_fails_to_begin_another_trial(submit: Submit, tmp_path: Path) -> None:
    """The first trial has a new worker, the others that of the one before."""
    how = {"type": "categorical", "choices": ["not", "raises", "dies"]}
    sweep = submit(
        "StumblesAtTheStart",
        parameters={"how": how, "folder": str(tmp_path), "x": 1.0},
        search={"algorithm": "grid"},
        budget={"trials": 3},
        concurrency=1,
        failures={"max_retries": 1},
    )
    assert sweep.state is SweepState.SUCCEEDED
    trials = [trial.record for trial in sweep.trials()]
    assert [(t.state, t.attempt, t.num_failures) for t in trials] == [
        (TrialState.COMPLETED, 1, 0),
        (TrialState.COMPLETED, 2, 1),
        (TrialState.COMPLETED, 2, 1),
    ]


def test_a_new_worker_that_fails_to_begin_says_why(submit: Submit, tmp_path: Path) -> None:
    parameters = {"how": "raises", "folder": str(tmp_path), "x": {"type": "float", "low": 0.0, "high": 1.0}}
    sweep = submit("StumblesAtTheStart", parameters=parameters, budget={"trials": 1})
    (trial,) = sweep.trials()
    failure = trial.record.failure
    assert failure is not None
    assert failure.kind is FailureKind.USER_ERROR
    assert failure.message == "ValueError: the layer expects 576 inputs and gets 512"
    assert (trial.record.attempt, trial.record.num_failures) == (1, 0)
    assert "about to fail" in "".join(trial.logs())


def test_a_class_trainable_is_warm_and_clean(submit: Submit) -> None:
    sweep = submit("Plain", budget={"trials": 4}, concurrency=1)

    assert sweep.state is SweepState.SUCCEEDED
    trials = [trial.record for trial in sweep.trials()]
    assert [trial.step for trial in trials] == [3, 3, 3, 3]
    assert {trial.state for trial in trials} == {TrialState.COMPLETED}


def test_the_best_checkpoint_is_kept_and_comes_down(submit: Submit, tmp_path: Path) -> None:
    sweep = submit("checkpoints", budget={"trials": 7}, concurrency=2)

    best = sweep.best()
    folder = best.download_checkpoint(tmp_path / "best")
    assert json.loads((folder / "state.json").read_text()) == {"step": 2, "x": best.params["x"]}
    assert best.record.checkpoint is not None
    assert best.record.checkpoint.step == 2
    ranked = sorted(sweep.trials(), key=lambda trial: trial.value or 0.0)
    assert [t.record.checkpoint is not None for t in ranked] == [True] * 5 + [False] * 2
    on_disk = {path.name for path in Path(best.record.checkpoint.path).parent.glob("checkpoint_*")}
    assert len(on_disk) == 1, "of a finished trial only the best checkpoint stays"


def test_the_config_is_what_the_spec_says(submit: Submit) -> None:
    sweep = submit(
        "as_given",
        parameters={
            "lr": {"type": "float", "low": 0.1, "high": 0.2},
            "model": {"width": {"type": "int", "low": 4, "high": 8}, "depth": 3, "sizes": [1, 2]},
            "opt": {"type": "categorical", "choices": ["sgd"]},
            "momentum": {"type": "float", "low": 0.5, "high": 0.9, "when": {"opt": "sgd"}},
        },
        budget={"trials": 1},
    )

    trial = sweep.trial(0)
    seen = json.loads(str(trial.results()[0].metrics["config_json"]))
    assert seen == trial.config
    assert set(seen) == {"lr", "model", "opt", "momentum"}
    assert seen["model"]["depth"] == 3
    assert trial.params["model/width"] == seen["model"]["width"]


def test_output_and_environment(submit: Submit) -> None:
    sweep = submit("talks", environment={"env_vars": {"GREETING": "good morning"}}, budget={"trials": 3}, concurrency=1)

    for trial in sweep.trials():
        assert trial.record.metrics["env"] == "good morning"
        text = until(lambda trial=trial: "".join(trial.logs()), what="the log")  # type: ignore[misc]
        assert text == f"hello from x = {trial.params['x']}\n", (
            "each trial has its own output, though the worker is one"
        )


def test_a_trainable_that_is_not_there(submit: Submit) -> None:
    sweep = submit("nowhere")

    assert sweep.state is SweepState.FAILED
    assert "trainables:nowhere" in (sweep.record.reason or "")
    assert "has no attribute 'nowhere'" in (sweep.record.reason or "")
