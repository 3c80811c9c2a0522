"""The median stopping rule: who is stopped, and what the decision says."""

from __future__ import annotations

import pickle
import random
import statistics
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toprung.tuning.plan import compared_at, decided_at, forecast
from toprung.tuning.records import Action, Decision
from toprung.tuning.schedule import Median
from toprung.tuning.spec import AshaScheduler, Goal, MedianScheduler, spec_from

MAX_T = 6
VALUES = st.floats(-1e6, 1e6, allow_nan=False)
CURVES = st.lists(st.lists(VALUES, min_size=1, max_size=MAX_T), min_size=1, max_size=12)
"""What each trial reports at steps 1, 2, …"""
ORDERS = st.randoms(use_true_random=False)


def median(goal: Goal = "minimize", grace_period: int = 1, min_samples: int = 3) -> Median:
    return Median(MedianScheduler(max_t=MAX_T, grace_period=grace_period, min_samples=min_samples), goal)


def interleaved(curves: Sequence[Sequence[float]], order: random.Random) -> list[tuple[int, int, float]]:
    """The reports of all trials, each trial's in its order."""
    turns = [number for number, curve in enumerate(curves) for _ in curve]
    order.shuffle(turns)
    steps = dict.fromkeys(range(len(curves)), 0)
    reports = []
    for number in turns:
        steps[number] += 1
        reports.append((number, steps[number], curves[number][steps[number] - 1]))
    return reports


def decide(scheduler: Median, reports: Sequence[tuple[int, int, float]]) -> list[Decision | None]:
    return [scheduler.decide(number, 1, 0, step, value) for number, step, value in reports]


def test_a_trial_below_the_median_of_the_others_stops_and_says_why() -> None:
    scheduler = median()
    decide(scheduler, [(n, step, value) for n, value in enumerate([0.2, 0.4, 0.6]) for step in (1, 2)])

    assert scheduler.decide(3, 1, 0, 1, 0.5) is not None, "0.4 is the median at step 1"
    assert scheduler.decide(4, 2, 0, 1, 0.3) is None
    decision = scheduler.decide(5, 2, 0, 1, 0.9)

    assert decision is not None
    assert (decision.number, decision.attempt, decision.rung, decision.action) == (5, 2, 1, Action.STOP)
    # 0.2, 0.3, 0.4, 0.5, 0.6 were there
    assert (decision.value, decision.cutoff, decision.rank, decision.seen, decision.places) == (0.9, 0.4, 6, 6, 3)
    expected = "stopped at step 1: best 0.9, median 0.4 of the averages of 5 others, rank 6 of 6"
    assert scheduler.in_words(decision) == expected


def test_its_best_counts_and_the_averages_of_the_others() -> None:
    """A late bad value stops nobody; a lucky early one of the others is averaged away."""
    scheduler = median(min_samples=1)
    decide(scheduler, [(0, 1, 0.0), (0, 2, 1.0), (0, 3, 2.0)])

    assert [d and d.cutoff for d in decide(scheduler, [(1, 2, 0.5), (1, 3, 9.0)])] == [None, None]
    assert [d and d.cutoff for d in decide(scheduler, [(2, 2, 0.75), (2, 3, 1.5)])] == [0.5, None]


@given(curves=CURVES, order=ORDERS, grace_period=st.integers(1, MAX_T), min_samples=st.integers(1, 5))
def test_it_is_the_rule_of_the_paper(
    curves: list[list[float]], order: random.Random, grace_period: int, min_samples: int
) -> None:
    scheduler = median(grace_period=grace_period, min_samples=min_samples)
    seen: dict[int, list[float]] = {}
    for number, step, value in interleaved(curves, order):
        decision = scheduler.decide(number, 1, 0, step, value)

        seen.setdefault(number, []).append(value)
        averages = [statistics.fmean(v[:step]) for n, v in seen.items() if n != number and len(v) >= step]
        if len(averages) < min_samples or not grace_period <= step < MAX_T:
            assert decision is None
            continue
        cutoff, best = statistics.median(averages), min(seen[number])
        if decision is None:
            assert best <= cutoff + 1e-6
        else:
            assert best > cutoff - 1e-6
            assert (decision.value, decision.seen) == (best, len(averages) + 1)
            assert decision.cutoff == pytest.approx(cutoff, abs=1e-6)
            assert decision.value > decision.cutoff
            assert decision.places < decision.rank <= decision.seen
            assert decision.places >= len(averages) / 2


@given(curves=CURVES, order=ORDERS)
def test_goals_mirror_each_other(curves: list[list[float]], order: random.Random) -> None:
    reports = interleaved(curves, order)
    low = decide(median(), reports)
    high = decide(median("maximize"), [(number, step, -value) for number, step, value in reports])

    assert [d and (d.number, d.rung, d.rank, d.places) for d in low] == [
        d and (d.number, d.rung, d.rank, d.places) for d in high
    ]
    assert [d and (d.value, d.cutoff) for d in low] == [d and (-d.value, -d.cutoff) for d in high]


@given(curves=CURVES, order=ORDERS, data=st.data())
def test_it_goes_on_from_results_in_any_order_of_trials_and_from_a_pickle(
    curves: list[list[float]], order: random.Random, data: st.DataObject
) -> None:
    reports = interleaved(curves, order)
    cut = data.draw(st.integers(0, len(reports)))
    unbroken, fed = median(), median()
    decide(unbroken, reports[:cut])

    for number, step, value in sorted(reports[:cut]):
        fed.observe(number, step, value)
    pickled = pickle.loads(pickle.dumps(unbroken))

    def grounds(scheduler: Median) -> list[tuple[float, int, int, int] | None]:
        decided = decide(scheduler, reports[cut:])
        return [None if d is None else (d.cutoff, d.rank, d.seen, d.places) for d in decided]

    expected = grounds(unbroken)
    assert grounds(fed) == expected
    assert grounds(pickled) == expected


def test_a_step_that_comes_again_after_a_retry_counts_once() -> None:
    one, other = median(min_samples=1), median(min_samples=1)
    decide(one, [(0, 1, 0.5), (0, 2, 0.4), (0, 3, 0.3)])
    decide(other, [(0, 1, 0.5), (0, 2, 0.4), (0, 1, 9.0), (0, 2, 9.0), (0, 3, 0.3)])

    first, second = one.decide(1, 1, 0, 3, 0.7), other.decide(1, 1, 0, 3, 0.7)

    assert first is not None
    assert second is not None
    assert (first.cutoff, first.seen) == (second.cutoff, second.seen)


def test_it_pauses_nothing() -> None:
    scheduler = median()
    scheduler.no_more_trials()

    assert (scheduler.mode, scheduler.next_up(), scheduler.promote()) == ("stop", None, None)
    assert (scheduler.waiting(), scheduler.dismiss(), scheduler.bracket(7)) == ([], [], 0)


def test_a_forecast_knows_the_worst_case_alone() -> None:
    spec = spec_from(
        {
            "trainable": "train:train",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
            "scheduler": {"type": "median", "max_t": 20, "grace_period": 3},
            "budget": {"trials": 10},
        }
    )
    cost = forecast(spec)

    assert (cost.expected_steps, cost.worst_case_steps, cost.full_steps, cost.rungs) == (None, 200, 200, [])
    assert compared_at(spec.scheduler) == (3, 6, 12, 20)


def test_the_median_rule_may_decide_at_each_step_from_the_grace_period_on() -> None:
    """Results that come fast are handed over together only between decisions."""
    median = decided_at(MedianScheduler(max_t=27, grace_period=3))
    asha = decided_at(AshaScheduler(max_t=27, grace_period=3))

    assert [step for step in range(1, 30) if step in median] == list(range(3, 27))
    assert [step for step in range(1, 30) if step in asha] == [3, 9]
