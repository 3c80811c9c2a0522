"""The sweep that runs a trial again, and what is said of the two."""

from __future__ import annotations

from typing import Any

import pytest

from toprung.errors import Conflict
from toprung.tuning.records import (
    Failure,
    FailureKind,
    Result,
    RunEnvironment,
    Sweep,
    SweepState,
    Trial,
    TrialEnvironment,
    TrialState,
    utc_now,
)
from toprung.tuning.reproduction import Outcome, Ran, Reproduction, StepDifference, compare, repeated
from toprung.tuning.spec import Git, SweepSpec, spec_from

SPEC: dict[str, Any] = {
    "name": "digits",
    "trainable": "train:fit",
    "code": f"sha256:{'a' * 64}",
    "metric": {"name": "loss", "goal": "minimize", "target": 0.1},
    "parameters": {
        "lr": {"type": "float", "low": 1e-5, "high": 1e-1, "log": True},
        "layers": {"type": "int", "low": 2, "high": 10, "step": 2},
        "net": {
            "kind": {"type": "categorical", "choices": ["cnn", "mlp"]},
            "kernel": {"type": "categorical", "choices": [3, 5], "when": {"kind": "cnn"}},
        },
        "widths": [1, 2],
        "epochs": 3,
    },
    "constraints": ["layers <= 8"],
    "search": {"algorithm": "tpe", "seed": 5, "points": [{"lr": 0.01}]},
    "scheduler": {"type": "asha", "max_t": 27},
    "budget": {"trials": 50, "gpu_hours": 3},
    "stop_when": {"no_improvement_trials": 4},
    "resources": {"cpu": 2},
    "tracking": {"wandb": {"project": "digits"}},
}
BEFORE = RunEnvironment(
    python="3.11.7", platform="Linux", cpu="X", torch_threads=2, packages={"a": "1", "torch": "2.6"}
)


def sweep(**changes: Any) -> Sweep:
    given = {"id": "swp_1", "name": "digits", "state": SweepState.SUCCEEDED, "spec": spec_from(SPEC)}
    return Sweep.model_validate({**given, "created_at": utc_now(), **changes})


def trial(params: dict[str, Any] | None = None, **changes: Any) -> Trial:
    params = params or {"lr": 0.012345678901234567, "layers": 4, "net/kind": "cnn", "net/kernel": 5}
    given = {"sweep_id": "swp_1", "number": 7, "state": TrialState.PRUNED, "params": params, "attempt": 1, "step": 9}
    config = spec_from(SPEC).space.config(params)
    return Trial.model_validate({**given, "config": config, "created_at": utc_now(), **changes})


def ran(
    values: list[float | None], *, attempts: list[int] | None = None, env: RunEnvironment | None = BEFORE, **more: Any
) -> Ran:
    attempts = attempts or [1] * len(values)
    results = [
        Result(
            number=7,
            step=step,
            attempt=attempt,
            reported_at=utc_now(),
            time_total_s=1.0,
            metrics={"loss": value, "time": step},
        )
        for step, (value, attempt) in enumerate(zip(values, attempts, strict=True), start=1)
    ]
    record = trial(attempt=attempts[-1] if attempts else 1, step=len(values), **more)
    return Ran(record, results, TrialEnvironment(number=7, attempt=1, seed=3, environment=env))


def compared(first: Ran, second: Ran | None, tolerance: float = 0.0, **changes: Any) -> Reproduction:
    again = sweep(id="swp_2", name="digits-reproduce-7", **changes)
    return compare(first, second, "loss", again, tolerance)


@pytest.mark.parametrize(
    "params",
    [
        {"lr": 0.012345678901234567, "layers": 4, "net/kind": "cnn", "net/kernel": 5},
        {"lr": 1e-05, "layers": 8, "net/kind": "mlp"},
    ],
)
def test_the_repetition_has_the_same_configuration(params: dict[str, Any]) -> None:
    found = trial(params)
    spec = repeated(sweep(), found, 99, None)
    (point,) = spec.search.points
    assert spec.space.config(spec.space.given(point)) == found.config
    assert (spec.trial_seed, spec.scheduler.max_t, spec.budget.trials, spec.concurrency) == (99, 9, 1, 1)
    assert spec.budget.gpu_hours is spec.metric.target is spec.stop_when.no_improvement_trials is None
    assert (spec.name, spec.scheduler.type, spec.tracking.wandb) == ("digits-reproduce-7", "none", None)
    assert (spec.code, spec.resources.cpu) == (SPEC["code"], 2)


def test_the_repetition_has_the_code_that_the_trial_had() -> None:
    other, git = f"sha256:{'b' * 64}", Git(commit="c" * 40)
    spec = repeated(sweep(), trial(), 1, BEFORE.model_copy(update={"code": other, "git": git}))
    assert (spec.code, spec.git) == (other, git)


def test_the_repetition_has_what_the_trial_had_at_last() -> None:
    climbing = {**SPEC, "resources": {"cpu": 2, "ladder": [{"memory_gb": 8}, {"cpu": 4, "memory_gb": 16}]}}
    spec = repeated(sweep(spec=spec_from(climbing)), trial(ladder_step=2), 1, None)
    assert (spec.resources.cpu, spec.resources.memory_gb, spec.resources.ladder) == (4, 16, ())


def test_a_long_name_stays_a_name() -> None:
    spec: SweepSpec = repeated(sweep(name="x" * 63), trial(), 1, None)
    assert spec.name is not None
    assert (len(spec.name), spec.name[-12:]) == (63, "-reproduce-7")


@pytest.mark.parametrize(
    ("state", "step", "why"), [(TrialState.RUNNING, 3, "is not over"), (TrialState.FAILED, 0, "has reported nothing")]
)
def test_what_can_not_be_repeated(state: TrialState, step: int, why: str) -> None:
    with pytest.raises(Conflict, match=why):
        repeated(sweep(), trial(state=state, step=step), 1, None)


def test_identical() -> None:
    found = compared(ran([0.5, None, 0.3]), ran([0.5, None, 0.3]))
    assert (found.outcome, found.same, found.num_steps, found.largest_difference) == (Outcome.IDENTICAL, True, 3, 0.0)
    assert (found.first_difference, found.changes, found.failure) == (None, (), None)


def test_within_a_tolerance() -> None:
    found = compared(ran([0.5, 0.25, 0.125]), ran([0.5, 0.3125, 0.25]), tolerance=0.125)
    assert (found.outcome, found.same, found.largest_difference) == (Outcome.WITHIN_TOLERANCE, True, 0.125)
    assert found.first_difference == StepDifference(step=2, stored=0.25, again=0.3125)


def test_differs_from_the_first_step_beyond_the_tolerance() -> None:
    found = compared(ran([0.5, 0.4, 0.125]), ran([0.5, 0.4000001, 0.25]), tolerance=1e-3)
    assert (found.outcome, found.same) == (Outcome.DIFFERS, False)
    assert found.first_difference == StepDifference(step=3, stored=0.125, again=0.25)


def test_a_value_that_is_missing_differs_whatever_the_tolerance() -> None:
    failure = Failure(kind=FailureKind.USER_ERROR, message="ValueError: bad shapes")
    second = ran([0.5], state=TrialState.FAILED, failure=failure)
    found = compared(ran([0.5, 0.4]), second, tolerance=1e9)
    assert (found.outcome, found.failure) == (Outcome.DIFFERS, failure.message)
    assert found.first_difference == StepDifference(step=2, stored=0.4, again=None)
    assert compared(ran([0.5, None]), second).outcome is Outcome.DIFFERS, "not reported is not the same as not finite"


def test_a_sweep_that_ended_before_its_trial_began() -> None:
    found = compared(ran([0.5]), None, state=SweepState.FAILED, reason="no module named train")
    assert (found.outcome, found.failure, found.changes) == (Outcome.DIFFERS, "no module named train", None)


def test_later_attempts_are_named() -> None:
    found = compared(ran([4.0, 3.0, 2.0, 1.0], attempts=[1, 1, 2, 4]), ran([4.0, 3.0, 2.0, 1.0]))
    assert (found.outcome, found.attempts, found.later_attempts) == (Outcome.IDENTICAL, 4, (3, 4))


def test_what_has_changed_around_it() -> None:
    now = {"python": "3.12.1", "gpus": ("NVIDIA H200",), "packages": {"torch": "2.7", "b": "1"}}
    found = compared(ran([0.5]), ran([0.5], env=BEFORE.model_copy(update=now)))
    assert found.changes is not None
    assert [(change.what, change.before, change.now) for change in found.changes] == [
        ("python", "3.11.7", "3.12.1"),
        ("gpus", None, "NVIDIA H200"),
        ("packages/a", "1", None),
        ("packages/b", None, "1"),
        ("packages/torch", "2.6", "2.7"),
    ]
    assert compared(ran([0.5], env=None), ran([0.5])).changes is None


def test_pytorch_that_one_of_the_workers_has_not_loaded_is_no_change() -> None:
    without = BEFORE.model_copy(update={"torch_threads": None, "cuda": None})
    assert compared(ran([0.5]), ran([0.5], env=without)).changes == ()
    (change,) = compared(ran([0.5]), ran([0.5], env=BEFORE.model_copy(update={"torch_threads": 4}))).changes or ()
    assert (change.what, change.before, change.now) == ("torch_threads", "2", "4")
