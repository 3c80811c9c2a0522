"""The runner's book: batches, best values, budgets, which checkpoints stay, how the sweep ends."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toprung.tuning.orders import Orders, TrialRequest
from toprung.tuning.records import Batch, CheckpointRef, Failure, FailureKind, SweepState, TrialState, utc_now
from toprung.tuning.run.ledger import KEPT_CHECKPOINTS, Ledger
from toprung.tuning.run.verdict import SURE_AFTER
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


def run(book: Ledger, number: int, losses: list[float], state: TrialState = TrialState.COMPLETED) -> None:
    """A whole trial with a checkpoint at its first step."""
    book.open(number, {"x": 0.5}, {"x": 0.5}, 0)
    book.started(number)
    for step, loss in enumerate(losses, start=1):
        report(book, number, step, loss)
    saved = CheckpointRef(step=1, path=f"/{number}")
    book.saved(number, saved, saved)
    book.ended(number, state)


def take(book: Ledger) -> tuple[Batch, list[str]]:
    """A batch that there is, and the paths of what may be removed."""
    taken = book.take()
    assert taken is not None
    return taken[0], [checkpoint.path for checkpoint in taken[1].obsolete]


def test_a_batch_holds_what_changed_since_the_last() -> None:
    book = ledger()
    run(book, 0, [0.5, 0.4])
    first, _ = take(book)
    book.open(1, {}, {}, 0)
    second, _ = take(book)

    assert [(t.number, t.state, t.attempt, t.step) for t in first.trials] == [(0, TrialState.COMPLETED, 1, 2)]
    assert [(r.number, r.step) for r in first.results] == [(0, 1), (0, 2)]
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
    for n in range(KEPT_CHECKPOINTS + 3):
        run(book, n, [1.0 - n / 10])

    batch, obsolete = take(book)
    assert obsolete == ["/0", "/1", "/2"], "each later trial is better, so the earliest go first"
    assert batch.dropped_checkpoints == [0, 1, 2]


def test_a_worse_or_failed_trial_loses_its_own_checkpoint() -> None:
    book = ledger()
    for n in range(KEPT_CHECKPOINTS):
        run(book, n, [0.1])
    run(book, 98, [0.9])
    run(book, 99, [0.01], TrialState.FAILED)

    batch, obsolete = take(book)
    assert obsolete == ["/98", "/99"]
    assert book[98].checkpoint is None
    assert batch.dropped_checkpoints == [], "their own rows say it"


def test_a_checkpoint_may_go_once_the_store_knows_a_later_one() -> None:
    book = ledger()
    book.open(0, {}, {}, 0)
    book.started(0)
    report(book, 0, 1, 0.5)
    first, second, third = (CheckpointRef(step=step, path=f"/{step}") for step in (1, 2, 3))
    book.saved(0, first, first)
    book.saved(0, first, second)

    batch, obsolete = take(book)
    assert (batch.trials[0].checkpoint, batch.trials[0].resume_from) == (first, second)
    assert obsolete == []

    book.saved(0, third, third)
    assert take(book)[1] == ["/1", "/2"]

    book.saved(0, third, second)
    book.ended(0, TrialState.COMPLETED)
    batch, obsolete = take(book)
    assert (batch.trials[0].checkpoint, batch.trials[0].resume_from) == (third, None)
    assert obsolete == ["/2"]


def test_what_an_earlier_runner_left_is_taken_up() -> None:
    clock = Clock()
    before = ledger(clock, resources={"gpu": 1}, budget={"gpu_hours": 10})
    run(before, 0, [0.3])
    for number in (1, 2, 3):
        before.open(number, {}, {}, 0)
    for number in (1, 2):
        before.started(number)
    clock.now = 3600
    report(before, 1, 1, 0.5)
    before.paused(2, "waits")

    after = ledger(clock, resources={"gpu": 1}, budget={"gpu_hours": 10})
    after.take_up([*before], elapsed_s=100)

    assert after.num_trials == 4
    assert after.num_live == 2, "one waits, one is over"
    assert (after[1].state, after[1].attempt, after[1].step) == (TrialState.PENDING, 1, 1)
    assert "lost with the sweep's runner" in (after[1].reason or "")
    assert after.gpu_hours == pytest.approx(2.0), "also of the attempt that was lost, up to its last result"
    batch, obsolete = take(after)
    assert [t.number for t in batch.trials] == [1], "only what changed is sent"
    assert obsolete == []
    for n in range(10, 10 + KEPT_CHECKPOINTS):
        run(after, n, [0.1])
    assert take(after)[1] == ["/0"], "the best so far are known"


def test_the_wall_time_goes_on_from_the_sweeps_start() -> None:
    book = ledger(budget={"wall_time_s": 60})

    book.take_up([], elapsed_s=61)
    book.check_budget()

    assert book.stop_reason == "the budget of 60 s of wall time is used up"


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


def test_each_worker_of_a_trial_uses_a_gpu() -> None:
    clock = Clock()
    book = ledger(clock, budget={"gpu_hours": 1}, resources={"gpu": 1, "workers": 2})
    book.open(0, {}, {}, 0)
    book.started(0)
    clock.now = 1790.0
    book.check_budget()
    assert book.stop_reason is None
    clock.now = 1810.0
    book.check_budget()
    assert book.stop_reason == "the budget of 1 GPU-hours is used up"
    report(book, 0, 1, 0.5)
    assert book[0].gpu_hours == pytest.approx(2 * 1810 / 3600)


def test_outcome() -> None:
    failure = Failure(kind=FailureKind.USER_ERROR, message="ValueError: no")
    book = ledger()
    for n in range(2):
        book.open(n, {}, {}, 0)
        book.ended(n, TrialState.FAILED, failure=failure)
    assert book.outcome() == (SweepState.FAILED, "all 2 trials failed; trial 0: ValueError: no")

    run(book, 2, [0.5])
    assert book.outcome() == (SweepState.SUCCEEDED, None)


def fail(book: Ledger, number: int, message: str, steps: int = 0) -> None:
    book.open(number, {}, {}, 0)
    book.started(number)
    for step in range(1, steps + 1):
        report(book, number, step, 0.5)
    book.ended(number, TrialState.FAILED, failure=Failure(kind=FailureKind.USER_ERROR, message=message))


def test_a_sweep_whose_first_trials_fail_alike_ends() -> None:
    book = ledger()
    for number in range(SURE_AFTER - 1):
        fail(book, number, f"ValueError: expects 576 inputs and gets {number}", steps=1)
    book.open(50, {}, {}, 0)  # another runs, and is no further
    book.started(50)
    report(book, 50, 1, 0.5)
    assert book.stop_reason is None

    fail(book, SURE_AFTER, "ValueError: expects 576 inputs and gets 7.5e-3", steps=1)

    assert book.outcome() == (
        SweepState.FAILED,
        "the first 5 trials failed alike; trial 0: ValueError: expects 576 inputs and gets 0",
    )


@pytest.mark.parametrize("other", ["another error", "completed", "further", "later"])
def test_a_sweep_goes_on_where_trials_may_not_fail(other: str) -> None:
    book = ledger()
    if other == "completed":
        run(book, 90, [0.5])
    if other == "further":
        book.open(90, {}, {}, 0)
        book.started(90)
        report(book, 90, 1, 0.5)
    for number in range(SURE_AFTER):
        fail(book, number, "KeyError: 'lr'" if other == "another error" and number == 2 else "ValueError: no")
    if other == "later":
        book = ledger()
        fail(book, 0, "KeyError: 'lr'")
        for number in range(1, SURE_AFTER + 3):
            fail(book, number, "ValueError: no")

    assert book.stop_reason is None


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


class TestWhatIsUsed:
    def test_gpu_hours_cost_what_they_cost_where_they_are_used(self) -> None:
        clock = Clock()
        book = ledger(clock, resources={"gpu": 0.5})
        book.agenda.direct(Orders(spec=book.spec, revision=1, prices={"A100": 4.0, "any": 1.0}))
        for number, kind in enumerate(["A100", "T4"]):
            book.open(number, {}, {}, 0)
            book.started(number)
            clock.now += 3600
            book.reported(number, 1, {"loss": 0.5}, 1.0, utc_now(), "here", kind)
            clock.now += 1800
            book.ended(number, TrialState.COMPLETED)
        assert [(book[n].gpu_hours, book[n].cost) for n in range(2)] == [(0.75, 3.0), (0.75, 0.75)]
        assert book.gpu_hours == 1.5

    def test_money_ends_a_sweep_and_what_an_earlier_runner_spent_counts(self) -> None:
        clock = Clock()
        budget = {"trials": 100, "cost": 8.0}
        before = ledger(clock, resources={"gpu": 1}, budget=budget)
        before.agenda.direct(Orders(spec=before.spec, revision=1, prices={"any": 2.0}))
        before.open(0, {}, {}, 0)
        before.started(0)
        clock.now += 3 * 3600
        before.ended(0, TrialState.COMPLETED)
        before.check_budget()
        assert before.stop_reason is None
        assert [(m.budget, m.percent, m.used) for m in take(before)[0].milestones] == [("cost", 50, 6.0)]

        after = ledger(clock, resources={"gpu": 1}, budget=budget)
        after.agenda.direct(Orders(spec=after.spec, revision=1, prices={"any": 2.0}))
        after.take_up(list(before), elapsed_s=0.0)
        after.open(1, {}, {}, 0)
        after.started(1)
        clock.now += 3600
        after.check_budget()
        assert after.stop_reason == "the budget of 8 for GPU-hours is used up"
        assert [m.percent for m in take(after)[0].milestones] == [50, 80, 100]

    def test_steps_count_once_however_often_they_are_done(self) -> None:
        book = ledger(budget={"steps": 6})
        book.open(0, {}, {}, 0)
        for steps in ([1, 2, 3], [2, 3, 4]):  # the second attempt goes on from its first checkpoint
            book.started(0)
            for step in steps:
                report(book, 0, step, 0.5)
            book.lost_attempt(0, "it died")
        book.check_budget()
        assert book.stop_reason is None
        book.started(0)
        for step in (5, 6):
            report(book, 0, step, 0.5)
        book.check_budget()
        assert book.stop_reason == "the budget of 6 steps is used up"


class TestAttemptsThatFail:
    def test_lost_machines_do_not_count(self) -> None:
        book = ledger(failures={"max_retries": 1})
        book.open(0, {}, {}, 0)
        for kind, again in (
            (FailureKind.NODE_LOST, True),
            (FailureKind.USER_ERROR, True),
            (FailureKind.PREEMPTED, True),
            (FailureKind.TIMEOUT, False),
        ):
            book.started(0)
            assert book.failed_attempt(0, Failure(kind=kind, message="no")) is again
        assert (book[0].attempt, book[0].num_failures) == (4, 1)

    def test_what_is_silent_or_takes_too_long_is_overdue(self) -> None:
        clock = Clock()
        book = ledger(clock, failures={"report_timeout_s": 10, "trial_timeout_s": 25})
        for number in range(2):
            book.open(number, {}, {}, 0)
            book.started(number)
        clock.now = 9
        report(book, 0, 1, 0.5)
        clock.now = 11
        assert [(number, final) for number, _, final in book.overdue()] == [(1, False)]
        book.ended(1, TrialState.FAILED, failure=Failure(kind=FailureKind.TIMEOUT, message="no"))
        for clock.now in (18, 25):
            report(book, 0, 2, 0.5)
        assert [(number, final) for number, _, final in book.overdue()] == [(0, True)]


class TestWhatIsAskedFor:
    def test_requests_come_on_top_and_are_answered_once(self) -> None:
        book = ledger(budget={"trials": 2})
        wanted = [TrialRequest(id=7, params={"x": 0.1}), TrialRequest(id=9, params={"x": 0.2}, retry_of=0)]
        book.agenda.direct(Orders(spec=book.spec, revision=3, requests=wanted))
        book.open(0, {}, {}, 0)
        book.open(1, {}, {}, 0, book.agenda.next_request())
        assert book.agenda.next_request() == wanted[1]
        assert book.agenda.proposals_left(book.num_trials) == 1

        after = ledger(budget={"trials": 2})
        after.agenda.direct(book.agenda.orders)
        after.take_up(list(book), elapsed_s=0.0)
        assert after.agenda.next_request() == wanted[1], "another runner knows what was answered"
        after.open(2, {}, {}, 0, wanted[1])
        assert (after[2].request_id, after[2].retry_of) == (9, 0)
        assert after.agenda.next_request() is None

    def test_what_comes_after_the_end_was_decided_is_left_to_another_runner(self) -> None:
        book = ledger()
        book.agenda.direct(Orders(spec=book.spec, revision=3))
        book.stop("enough")
        book.agenda.direct(Orders(spec=book.spec, revision=4))
        assert book.agenda.served == 3

    def test_patience_does_not_end_what_users_asked_for(self) -> None:
        book = ledger(stop_when={"no_improvement_trials": 2})
        run(book, 0, [0.1])
        wanted = [TrialRequest(id=n, params={}) for n in range(4)]
        book.agenda.direct(Orders(spec=book.spec, revision=2, requests=wanted))
        for number, request in enumerate(wanted, start=1):
            book.open(number, {}, {}, 0, request)
            book.started(number)
            report(book, number, 1, 0.5)
            book.ended(number, TrialState.COMPLETED)
        assert book.stop_reason is None
        for number in (5, 6):
            run(book, number, [0.5])
        assert "the last 2 trials" in (book.stop_reason or "")

    def test_who_made_room_and_was_lost_or_ended_waits_no_longer(self) -> None:
        book = ledger()
        for number in range(2):
            book.open(number, {}, {}, 0)
            book.started(number)
            book.made_room(number)
        book.lost_attempt(0, "its node was lost while it saved its checkpoint")
        book.ended(1, TrialState.CANCELLED)
        assert not book.displaced
        assert book.num_live == 1

    def test_what_ran_until_a_pause_is_charged(self) -> None:
        clock = Clock()
        book = ledger(clock, resources={"gpu": 1})
        book.open(0, {}, {}, 0)
        book.started(0)
        clock.now += 1800
        book.release_all("the sweep was paused")
        assert (book[0].state, book[0].gpu_hours) == (TrialState.PENDING, 0.5)

    def test_trials_that_make_room_are_no_longer_live(self) -> None:
        book = ledger()
        book.agenda.direct(Orders(spec=book.spec, revision=1, share=1, preempt=True))
        for number in range(2):
            book.open(number, {}, {}, 0)
            book.started(number)
        book.made_room(1)
        assert (book.num_live, list(book.displaced)) == (1, [1])
        assert (book[1].state, book[1].reason) == (TrialState.PENDING, "made room for another sweep")


@given(
    st.lists(st.tuples(st.sampled_from(["completed", "pruned", "failed"]), st.integers(0, 5)), max_size=12), st.data()
)
def test_patience_goes_on_in_another_runner(ends: list[tuple[str, int]], data: st.DataObject) -> None:
    """However a sweep is cut, the same end is the one that exhausts the patience."""
    spec: dict[str, Any] = {"stop_when": {"no_improvement_trials": 3}, "search": {"algorithm": "random"}}
    cut = data.draw(st.integers(0, len(ends)))
    whole, first = ledger(**spec), ledger(**spec)
    failure = Failure(kind=FailureKind.NODE_LOST, message="no")

    def end(book: Ledger, number: int) -> None:
        state, loss = ends[number]
        book.open(number, {}, {}, 0)
        book.started(number)
        report(book, number, 1, float(loss))
        book.ended(number, TrialState(state), failure=failure if state == "failed" else None)

    for number in range(len(ends)):
        end(whole, number)
    for number in range(cut):
        end(first, number)
    second = ledger(**spec)
    second.take_up(list(first), elapsed_s=0.0)
    for number in range(cut, len(ends)):
        end(second, number)
    assert whole.stop_reason == (first.stop_reason or second.stop_reason)
