"""ASHA's rule: who goes on, who stops, and what the decision says."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toprung.tuning.records import Action, Decision
from toprung.tuning.schedule import Asha, in_words
from toprung.tuning.spec import AshaScheduler, Goal

VALUES = st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=60)


def asha(
    goal: Goal = "minimize",
    *,
    max_t: int = 27,
    eta: int = 3,
    brackets: int = 1,
    seed: int | None = 0,
    mode: Literal["stop", "promote"] = "stop",
) -> Asha:
    config = AshaScheduler(max_t=max_t, grace_period=1, reduction_factor=eta, brackets=brackets, mode=mode)
    return Asha(config, goal, seed)


def decide_all(scheduler: Asha, values: list[float], step: int = 1) -> list[Decision]:
    decisions = [scheduler.decide(n, 1, 0, step, value) for n, value in enumerate(values)]
    return [decision for decision in decisions if decision is not None]


def test_the_best_third_goes_on() -> None:
    decisions = decide_all(asha(), [0.9, 0.8, 0.7, 0.95, 0.6, 0.1])

    assert [d.action for d in decisions] == [
        Action.PROMOTE,  # the first: there is nothing to compare with
        Action.PROMOTE,  # the best so far
        Action.PROMOTE,
        Action.STOP,
        Action.PROMOTE,
        Action.PROMOTE,
    ]
    last = decisions[-1]
    assert (last.rank, last.seen, last.places, last.cutoff) == (1, 6, 2, 0.6)


def test_maximize_turns_the_order() -> None:
    decisions = decide_all(asha("maximize"), [0.5, 0.4, 0.6])

    assert [d.action for d in decisions] == [Action.PROMOTE, Action.STOP, Action.PROMOTE]
    assert decisions[1].cutoff == 0.5


def test_only_rungs_decide() -> None:
    scheduler = asha(max_t=27, eta=3)

    decided = [step for step in range(1, 28) if scheduler.decide(0, 1, 0, step, 1.0) is not None]

    assert decided == [1, 3, 9], "27 is the top rung: who reaches it is finished, not compared"


def test_a_rung_decides_once_for_a_trial() -> None:
    scheduler = asha()
    first = scheduler.decide(0, 1, 0, 1, 0.5)

    again = scheduler.decide(0, 2, 0, 1, 0.4)
    other = scheduler.decide(1, 1, 0, 1, 0.45)

    assert first is not None
    assert again is None
    assert other is not None
    assert other.seen == 2, "the repeated step of a retried trial is not counted"


def test_of_equals_the_first_goes_on() -> None:
    decisions = decide_all(asha(), [0.5, 0.5, 0.5])

    assert [d.rank for d in decisions] == [1, 2, 3]
    assert [d.action for d in decisions] == [Action.PROMOTE, Action.STOP, Action.STOP]


@given(values=VALUES, eta=st.integers(2, 5))
def test_the_grounds_fit_the_action(values: list[float], eta: int) -> None:
    for decision in decide_all(asha(eta=eta), values):
        assert decision.places == max(1, decision.seen // eta)
        assert (decision.action is Action.PROMOTE) == (decision.rank <= decision.places)
        if decision.action is Action.PROMOTE:
            assert decision.value <= decision.cutoff
        else:
            assert decision.value >= decision.cutoff


@given(values=VALUES)
def test_the_best_of_all_is_never_stopped(values: list[float]) -> None:
    decisions = decide_all(asha(), values)

    best = min(range(len(values)), key=lambda n: (values[n], n))
    assert decisions[best].action is Action.PROMOTE


@given(values=VALUES)
def test_goals_mirror_each_other(values: list[float]) -> None:
    low = decide_all(asha("minimize"), values)
    high = decide_all(asha("maximize"), [-value for value in values])

    assert [d.action for d in low] == [d.action for d in high]
    assert [d.cutoff for d in low] == [-d.cutoff for d in high]


def test_brackets_come_from_the_seed_and_all_are_used() -> None:
    one, same, other = (asha(brackets=3, seed=seed) for seed in (1, 1, 2))

    drawn = [one.bracket(n) for n in range(300)]

    assert drawn == [same.bracket(n) for n in range(300)]
    assert drawn != [other.bracket(n) for n in range(300)]
    counts = [drawn.count(b) for b in range(3)]
    assert all(a > b > 0 for a, b in pairwise(counts)), "later brackets start later and get fewer trials"


def test_a_later_bracket_starts_at_a_later_rung() -> None:
    scheduler = asha(brackets=2)

    assert scheduler.decide(0, 1, 1, 1, 0.5) is None
    assert scheduler.decide(0, 1, 1, 3, 0.5) is not None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.5], "went on at rung 1: 0.5, cutoff 0.5, rank 1 of 1, the best 1 goes on"),
        ([0.3, 0.5], "stopped at rung 1: 0.5, cutoff 0.3, rank 2 of 2, the best 1 goes on"),
    ],
)
def test_words(values: list[float], expected: str) -> None:
    assert in_words(decide_all(asha(), values)[-1]) == expected


# -- promote: pause at a rung, go on later --------------------------------------------------------------------------

STREAMS = st.lists(st.tuples(st.floats(0, 1, allow_nan=False), st.booleans()), min_size=1, max_size=80)
"""A value that arrives at rung 1, and whether a worker is free afterwards."""


def test_a_trial_waits_until_it_is_among_the_best() -> None:
    scheduler = asha(mode="promote")

    first, second, third = decide_all(scheduler, [0.5, 0.9, 0.7])

    assert [first.action, second.action, third.action] == [Action.PAUSE] * 3
    assert scheduler.next_up() == 0
    promoted = scheduler.promote()
    assert promoted is not None
    assert (promoted.number, promoted.rung, promoted.action) == (0, 1, Action.PROMOTE)
    assert (promoted.rank, promoted.seen, promoted.places) == (1, 3, 1)
    assert scheduler.promote() is None, "one of three"
    assert scheduler.waiting() == [2, 1]


def test_the_trial_that_would_be_promoted_does_not_pause() -> None:
    decisions = decide_all(asha(mode="promote"), [0.5, 0.6, 0.4])

    assert [d.action for d in decisions] == [Action.PAUSE, Action.PAUSE, Action.PROMOTE]


def test_the_highest_rung_comes_first() -> None:
    scheduler = asha(mode="promote")
    for number in range(3):
        scheduler.decide(number, 1, 0, 3, float(number))
    for number in range(3, 6):
        scheduler.decide(number, 1, 0, 1, float(number))

    assert [(d.number, d.rung) for d in iter(scheduler.promote, None)] == [(0, 3), (3, 1)]


@given(stream=STREAMS, eta=st.integers(2, 4))
def test_a_rung_never_promotes_more_than_its_share(stream: list[tuple[float, bool]], eta: int) -> None:
    scheduler, promoted = asha(mode="promote", eta=eta), 0
    for number, (value, free) in enumerate(stream):
        decisions = [scheduler.decide(number, 1, 0, 1, value), scheduler.promote() if free else None]
        for decision in decisions:
            if decision is not None and decision.action is Action.PROMOTE:
                promoted += 1
                assert decision.rank <= decision.places, "only who is among the best goes on"
        assert promoted <= (number + 1) // eta


@given(stream=STREAMS, cut=st.integers(0, 80))
def test_a_scheduler_brought_back_from_its_decisions_goes_on_as_it_would_have(
    stream: list[tuple[float, bool]], cut: int
) -> None:
    def play(scheduler: Asha, first: int, some: list[tuple[float, bool]]) -> list[Decision]:
        made = []
        for number, (value, free) in enumerate(some, start=first):
            made += [scheduler.decide(number, 1, 0, 1, value), scheduler.promote() if free else None]
        return [decision for decision in made if decision is not None]

    unbroken, again = asha(mode="promote"), asha(mode="promote")
    again.replay(play(unbroken, 0, stream[:cut]))

    def facts(decisions: list[Decision]) -> list[tuple[int, Action, int, int]]:
        return [(d.number, d.action, d.rank, d.places) for d in decisions]

    assert facts(play(again, cut, stream[cut:])) == facts(play(unbroken, cut, stream[cut:]))
    assert again.waiting() == unbroken.waiting()


@given(values=VALUES)
def test_at_the_end_the_best_of_a_rung_has_gone_on(values: list[float]) -> None:
    scheduler = asha(mode="promote")
    decisions = decide_all(scheduler, values)
    scheduler.no_more_trials()

    decisions += list(iter(scheduler.promote, None))

    best = min(range(len(values)), key=lambda n: (values[n], n))
    assert best in {d.number for d in decisions if d.action is Action.PROMOTE}
    left = scheduler.waiting()
    assert sorted(d.number for d in scheduler.dismiss()) == sorted(left)
    assert scheduler.waiting() == []


def test_a_trial_that_left_is_not_promoted() -> None:
    scheduler = asha(mode="promote")
    decide_all(scheduler, [0.1, 0.5, 0.9])

    scheduler.leave(0)

    assert scheduler.next_up() is None
    assert scheduler.waiting() == [1, 2]


def test_trials_that_cannot_be_resumed_are_stopped_instead() -> None:
    scheduler = asha(mode="promote")
    scheduler.give_up_pausing()

    assert [d.action for d in decide_all(scheduler, [0.5, 0.6])] == [Action.PROMOTE, Action.STOP]
