"""PyTorch trials in the service: resumed, repeatable, and not dead when memory runs out."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.conftest import WAIT_S, Submit
from toprung.client import SweepHandle
from toprung.tuning.records import Action, FailureKind, SweepState, TrialState
from toprung.tuning.reproduction import Outcome

DIGITS: dict[str, Any] = {
    "trainable": "toprung.examples.digits.memory_safe:Digits",
    "metric": {"name": "val_loss", "goal": "minimize"},
    "parameters": {
        "lr": {"type": "float", "low": 1e-3, "high": 1e-2, "log": True},
        "batch_size": 64,
        "channels": 4,
        "hidden": 16,
        "dropout": 0.1,
        "weight_decay": 0.0,
        "optimizer": "adam",
    },
}
TIGHT: dict[str, Any] = {
    "metric": {"name": "train_loss", "goal": "minimize"},
    "scheduler": {"type": "asha", "max_t": 3},
}


def results(sweep: SweepHandle) -> list[list[dict[str, Any]]]:
    """What each trial reported, but for its memory."""
    return [
        [{k: v for k, v in result.metrics.items() if not k.startswith("memory/")} for result in trial.results()]
        for trial in sweep.trials()
    ]


@pytest.mark.deep
def test_trials_pause_and_go_on_and_a_sweep_can_be_repeated(submit: Submit) -> None:
    asha = {"type": "asha", "max_t": 4, "grace_period": 1, "reduction_factor": 2, "mode": "promote"}
    sweep = submit("digits", **DIGITS, budget={"trials": 4}, scheduler=asha, concurrency=1)
    assert sweep.state is SweepState.SUCCEEDED
    assert any(d.action is Action.PROMOTE for d in sweep.decisions())
    assert set(sweep.best().record.metrics) >= {"train_loss", "val_loss", "accuracy", "memory/rss_mb"}

    # the same trials, none of which pauses
    again = submit("digits", **DIGITS, budget={"trials": 4}, scheduler={"type": "none", "max_t": 4})
    assert all(t.record.state is TrialState.COMPLETED for t in again.trials())
    for first, second in zip(results(sweep), results(again), strict=True):
        assert first
        assert first == second[: len(first)]

    # what was trained in several attempts, each from the checkpoint of the last, equals what is trained in one
    paused = next(t for t in sweep.trials() if t.record.attempt > 1)
    found = paused.reproduce(timeout_s=WAIT_S, progress=False)
    assert (found.outcome, found.attempts) == (Outcome.IDENTICAL, paused.record.attempt)
    assert found.later_attempts


@pytest.mark.parametrize("trainable", ["Tight", "own_loop"])
def test_a_batch_that_does_not_fit_is_computed_in_parts(submit: Submit, trainable: str) -> None:
    fits = {"fits": {"type": "categorical", "choices": [3, 16]}}
    sweep = submit("tight", **{**TIGHT, "trainable": f"torch_trainables:{trainable}"}, parameters=fits)
    assert sweep.state is SweepState.SUCCEEDED
    said = {t.record.params["fits"]: "".join(t.logs()) for t in sweep.trials()}
    assert "batches of 16 are computed in parts of at most 2" in said[3]
    assert "out of memory" not in said[16]


def test_one_that_does_not_fit_at_all_says_so(submit: Submit) -> None:
    fits = {"fits": 0, "x": {"type": "float", "low": 0.0, "high": 1.0}}
    tight = {**TIGHT, "trainable": "torch_trainables:Tight"}
    sweep = submit("tight", **tight, budget={"trials": 1}, parameters=fits)
    (trial,) = (t.record for t in sweep.trials())
    assert trial.state is TrialState.FAILED
    assert trial.failure is not None
    assert trial.failure.kind is FailureKind.GPU_OOM
    assert "not even one sample at a time fits" in (trial.failure.traceback or "")


@pytest.mark.deep
def test_what_fits_is_told_to_trials_in_other_processes(submit: Submit) -> None:
    """The first trial's process dies after its first result, so the second has one of its own."""
    sweep = submit(
        "told",
        **{**TIGHT, "trainable": "torch_trainables:Dying", "scheduler": {"type": "none", "max_t": 3}},
        parameters={"fits": 3, "dies": {"type": "categorical", "choices": [True, False]}},
        search={"algorithm": "random", "points": [{"dies": True}, {"dies": False}]},
        budget={"trials": 2},
        failures={"max_retries": 0},
        concurrency=1,
    )
    first, second = sweep.trials()
    assert first.record.state is TrialState.FAILED
    assert "batches of 16 are computed in parts of at most 2" in "".join(first.logs())
    assert second.record.state is TrialState.COMPLETED
    assert "out of memory" not in "".join(second.logs()), "it began with what fitted"
    assert set(second.record.metrics) == {"train_loss", "memory/rss_mb"}
