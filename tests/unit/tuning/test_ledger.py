"""The runner's book: batches, best values, budgets, which checkpoints stay, how the sweep ends."""

from __future__ import annotations

from typing import Any

import pytest

from toprung.tuning.records import CheckpointRef, Failure, FailureKind, SweepState, TrialState, utc_now
from toprung.tuning.run.ledger import KEPT_CHECKPOINTS, Ledger
from toprung.tuning.spec import spec_from


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def ledger(clock: Clock | None = None, **changes: Any) -> Ledger:
    spec = spec_from(
        {
            "trainable": "train:train",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
            "budget": {"trials": 100},
            **changes,
        }
    )
    return Ledger("swp_1", spec, clock or Clock())


def report(book: Ledger, number: int, step: int, loss: float | None) -> None:
    book.reported(number, step, {"loss": loss}, time_total_s=1.0, at=utc_now(), node="here")


def run(book: Ledger, number: int, losses: list[float], state: TrialState = TrialState.COMPLETED) -> list[int]:
    """A whole trial with a checkpoint at its best step. Returns whose checkpoints are to be removed."""
    book.open(number, {"x": 0.5}, {"x": 0.5}, 0)
    book.started(number)
    for step, loss in enumerate(losses, start=1):
        report(book, number, step, loss)
    return book.ended(number, state, checkpoint=CheckpointRef(step=1, path=f"/{number}"))


def test_a_batch_holds_what_changed_since_the_last() -> None:
    book = ledger()
    run(book, 0, [0.5, 0.4])
    first = book.take()
    book.open(1, {}, {}, 0)
    second = book.take()

    assert first is not None
    assert [(t.number, t.state, t.attempt, t.step) for t in first.trials] == [(0, TrialState.COMPLETED, 1, 2)]
    assert [(r.number, r.step) for r in first.results] == [(0, 1), (0, 2)]
    assert second is not None
    assert [t.number for t in second.trials] == [1]
    assert book.take() is None


def test_the_value_is_the_best_over_the_steps_and_ignores_what_is_not_finite() -> None:
    book = ledger()
    book.open(0, {}, {}, 0)
    book.started(0)
    for step, loss in enumerate([0.5, 0.3, 0.4, None], start=1):
        report(book, 0, step, loss)

    assert (book[0].value, book[0].best_step, book[0].step) == (0.3, 2, 4)


def test_a_retried_trial_has_a_second_attempt() -> None:
    book = ledger()
    book.open(0, {}, {}, 0)
    book.started(0)
    book.lost_attempt(0, "worker died")

    assert (book[0].state, book[0].attempt) == (TrialState.PENDING, 1)
    book.started(0)
    assert (book[0].state, book[0].attempt) == (TrialState.RUNNING, 2)
    assert book.num_live == 1


def test_the_checkpoints_of_the_best_trials_stay() -> None:
    book = ledger()
    removed = [number for n in range(KEPT_CHECKPOINTS + 3) for number in run(book, n, [1.0 - n / 10])]

    assert removed == [0, 1, 2], "each later trial is better, so the earliest go first"
    batch = book.take()
    assert batch is not None
    assert batch.dropped_checkpoints == [0, 1, 2]


def test_a_worse_or_failed_trial_loses_its_own_checkpoint() -> None:
    book = ledger()
    for n in range(KEPT_CHECKPOINTS):
        assert run(book, n, [0.1]) == []

    assert run(book, 98, [0.9]) == [98]
    assert run(book, 99, [0.01], TrialState.FAILED) == [99]
    assert book[98].checkpoint is None
    batch = book.take()
    assert batch is not None
    assert batch.dropped_checkpoints == [], "a row that never had one needs no correction"


@pytest.mark.parametrize(
    ("budget", "turn_s", "reason"),
    [
        ({"wall_time_s": 60}, 60, "the budget of 60 s of wall time is used up"),
        ({"gpu_hours": 1}, 7200, "the budget of 1 GPU-hours is used up"),
    ],
)
def test_time_budgets_stop_the_sweep(budget: dict[str, float], turn_s: float, reason: str) -> None:
    clock = Clock()
    book = ledger(clock, budget=budget, resources={"gpu": 0.5})
    book.open(0, {}, {}, 0)
    book.started(0)
    book.check_budget()
    assert book.stop_reason is None

    clock.now = turn_s
    book.check_budget()

    assert book.stop_reason == reason
    book.stop("something later")
    assert book.stop_reason == reason, "the first reason stands"


def test_gpu_hours_count_the_share_of_a_gpu() -> None:
    clock = Clock()
    book = ledger(clock, resources={"gpu": 0.5})
    book.open(0, {}, {}, 0)
    book.started(0)
    clock.now = 3600
    book.ended(0, TrialState.COMPLETED)
    clock.now = 7200

    assert book.gpu_hours == pytest.approx(0.5)
    assert book[0].gpu_hours == pytest.approx(0.5)


def test_outcome() -> None:
    failure = Failure(kind=FailureKind.USER_ERROR, message="ValueError: no")
    book = ledger()
    for n in range(2):
        book.open(n, {}, {}, 0)
        book.ended(n, TrialState.FAILED, failure=failure)
    assert book.outcome() == (SweepState.FAILED, "all 2 trials failed; trial 0: ValueError: no")

    run(book, 2, [0.5])
    assert book.outcome() == (SweepState.SUCCEEDED, None)


def test_a_paused_trial_holds_no_place_and_costs_nothing() -> None:
    clock = Clock()
    book = ledger(clock, resources={"cpu": 1, "gpu": 1}, budget={"gpu_hours": 10})
    book.open(0, {"x": 0.5}, {"x": 0.5}, 0)
    book.started(0)
    clock.now = 3600.0
    report(book, 0, 1, 0.5)
    book.paused(0, "waits at rung 1")

    clock.now = 7200.0
    assert book.num_live == 0
    assert book.gpu_hours == 1.0
    assert (book[0].state, book[0].reason) == (TrialState.PAUSED, "waits at rung 1")

    book.resumed(0)
    assert book.num_live == 1
    book.started(0)
    assert (book[0].state, book[0].attempt, book[0].step) == (TrialState.RUNNING, 2, 1)


def test_a_trial_lost_while_it_paused_is_live_again() -> None:
    book = ledger()
    book.open(0, {"x": 0.5}, {"x": 0.5}, 0)
    book.started(0)
    book.paused(0, "waits at rung 1")

    book.lost_attempt(0, "attempt 1 failed")

    assert (book[0].state, book.num_live) == (TrialState.PENDING, 1)
