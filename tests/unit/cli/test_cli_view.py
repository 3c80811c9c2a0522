"""What the plain lines of `toprung watch` know."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.cli.cli_help import Story, config, make_spec, make_sweep

from toprung.cli.watching.view import FINISHED, SweepView
from toprung.tuning.records import Event


def fold(view: SweepView, *events: Event) -> SweepView:
    for event in events:
        view.apply(event)
    return view


def test_the_best_is_by_goal_and_said_when_it_changes() -> None:
    story = Story()
    for goal, expected in (("minimize", 0.2), ("maximize", 0.9)):
        view = SweepView(make_sweep(spec=make_spec(metric={"name": "score", "goal": goal})))
        fold(view, story.starts(0), story.starts(1))
        told = [change for v in (0.5, 0.9, 0.2) for change in view.apply(story.result(v == 0.9, 1, v))]
        assert view.best is not None
        assert view.best.value == expected
        assert [change.kind for change in told] == ["best", "best"]


def test_a_lost_metric_changes_no_best() -> None:
    story = Story()
    view = fold(SweepView(make_sweep()), story.starts(0), story.result(0, 1, None))
    assert view.best is None


def test_results_told_after_the_end_still_count() -> None:
    story, view = Story(), SweepView(make_sweep())
    fold(view, story.starts(0), story.trial(0, "completed", step=27))
    assert [change.kind for change in view.apply(story.result(0, 27, 0.1))] == ["best"]
    assert view.finished == 1


def test_a_finished_trial_stays_finished() -> None:
    story = Story()
    view = fold(SweepView(make_sweep()), story.starts(0), story.trial(0, "failed", failure={"message": "boom"}))
    assert view.apply(story.trial(0, "running")) == []
    assert view.finished == 1


def test_events_of_newer_services_change_nothing() -> None:
    view = SweepView(make_sweep())
    assert view.apply(Story().event("sweep.paused", anything=1)) == []


def test_a_sweep_that_is_extended_goes_on() -> None:
    story, view = Story(), SweepView(make_sweep(num_trials=5))
    fold(view, story.sweep("succeeded"))
    fold(view, story.event("sweep.edited", num_trials=9, revision=2), story.sweep("queued"))
    assert (view.num_trials, view.state) == (9, "queued")
    used = story.event("budget", budget="gpu_hours", percent=80, used=1.6, limit=2.0)
    assert [change.text for change in view.apply(used)] == ["80 % of budget.gpu_hours is used: 1.6 of 2"]


STATES = st.sampled_from(["pending", "running", *sorted(FINISHED)])


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), STATES), max_size=40))
def test_counts_add_up(changes: list[tuple[int, str]]) -> None:
    story, view = Story(), SweepView(make_sweep())
    last: dict[int, str] = {}
    for number, state in changes:
        view.apply(story.trial(number, state, config=config(number)))
        if last.get(number) not in FINISHED:
            last[number] = state
    states = list(last.values())
    assert view.finished == sum(state in FINISHED for state in states)
