"""The view model behind `toprung watch`."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.cli.cli_help import START, Story, config, make_spec, make_sweep

from toprung.cli.watching.view import FINISHED, KEPT_BEST, KEPT_RECENT, SweepView
from toprung.tuning.records import BestTrial, Event, Trial, TrialState


def fold(view: SweepView, *events: Event) -> SweepView:
    for event in events:
        view.apply(event)
    return view


def test_a_trial_goes_from_live_to_recent() -> None:
    story, view = Story(), SweepView(make_sweep())
    fold(view, story.sweep("running"), story.starts(0), story.result(0, 1, 0.9), story.result(0, 2, 0.7, accuracy=0.8))
    (row,) = view.live_rows()
    assert (row.number, row.step, row.value, row.best_step, list(row.history)) == (0, 2, 0.7, 2, [0.9, 0.7])
    assert row.params == {"lr": 0.1, "batch_size": 16, "optimizer": "sgd", "net/hidden": 16}
    assert row.metrics["accuracy"] == 0.8

    fold(view, story.trial(0, "pruned", step=3, value=0.6, best_step=3, reason="stopped at rung 3: 0.6"))
    assert view.live_rows() == []
    assert view.recent_rows() == [row]
    assert (row.state, row.value, row.reason) == ("pruned", 0.6, "stopped at rung 3: 0.6")
    assert (view.finished, view.done, view.counts["pruned"]) == (1, 1 / 50, 1)


def test_the_best_is_by_goal_and_said_when_it_changes() -> None:
    story = Story()
    for goal, expected in (("minimize", 0.2), ("maximize", 0.9)):
        view = SweepView(make_sweep(spec=make_spec(metric={"name": "score", "goal": goal})))
        fold(view, story.starts(0), story.starts(1))
        told = [change for v in (0.5, 0.9, 0.2) for change in view.apply(story.result(v == 0.9, 1, v))]
        assert view.best is not None
        assert view.best.value == expected
        assert [change.kind for change in told] == ["best", "best"]
        assert [row.number for row in view.best_rows(2)] == ([0, 1] if goal == "minimize" else [1, 0])


def test_a_lost_metric_changes_no_best() -> None:
    story = Story()
    view = fold(SweepView(make_sweep()), story.starts(0), story.result(0, 1, None))
    assert view.best is None
    assert view.live_rows()[0].step == 1


def test_results_told_after_the_end_still_count() -> None:
    story, view = Story(), SweepView(make_sweep())
    fold(view, story.starts(0), story.trial(0, "completed", step=27, value=0.1, best_step=27))
    fold(view, story.result(0, 27, 0.1, accuracy=0.97))
    assert view.recent_rows()[0].metrics["accuracy"] == 0.97
    assert view.finished == 1


def test_rungs_come_from_decisions() -> None:
    story = Story()
    view = fold(
        SweepView(make_sweep()),
        story.decision(0, 1, "pause", seen=1),
        story.decision(1, 1, "stop", seen=2),
        story.decision(2, 1, "promote", seen=3),
        story.decision(2, 3, "stop", seen=1),
        story.decision(0, 1, "promote", seen=3),
    )
    seen = {rung: (count.seen, count.promoted) for rung, count in view.rungs.items()}
    assert seen == {1: (3, 2), 3: (1, 0)}, "a trial that paused and was promoted later is one trial"


def test_a_paused_trial_waits_apart_from_those_that_run() -> None:
    story = Story()
    view = fold(SweepView(make_sweep()), story.starts(0), story.starts(1), story.trial(0, "paused", step=3))
    assert [row.number for row in view.live_rows()] == [1]
    assert [row.number for row in view.paused_rows()] == [0]
    assert view.counts["paused"] == 1
    assert view.finished == 0


def test_counts_are_the_records_until_the_history_is_read() -> None:
    story = Story()
    record = make_sweep(state="running", trials={TrialState.PRUNED: 2, TrialState.RUNNING: 3})
    view = fold(SweepView(record), story.starts(0), story.trial(0, "pruned"))
    assert not view.caught_up
    assert (view.counts["pruned"], view.counts["running"]) == (2, 3)
    fold(view, story.starts(1), story.trial(1, "pruned"), story.starts(2))
    assert view.caught_up
    assert (view.counts["pruned"], view.counts["running"]) == (2, 1)


def test_the_history_does_not_push_the_known_best_aside() -> None:
    best = Trial(
        sweep_id="swp_1",
        number=4,
        state=TrialState.RUNNING,
        params={"lr": 0.1},
        config={},
        step=9,
        value=0.1,
        best_step=9,
        created_at=START,
    )
    story = Story()
    view = SweepView(make_sweep(), [BestTrial(rank=1, why="", trial=best)])
    fold(view, story.starts(4), story.result(4, 1, 0.8))
    assert view.best is not None
    assert view.best.value == 0.1
    fold(view, story.result(4, 9, 0.1), story.trial(4, "completed", value=0.1, best_step=9))
    assert view.best.state == "completed"


def test_a_finished_trial_stays_finished() -> None:
    story = Story()
    view = fold(SweepView(make_sweep()), story.starts(0), story.trial(0, "failed", failure={"message": "boom"}))
    assert view.apply(story.trial(0, "running")) == []
    assert view.counts["failed"] == 1
    assert view.recent_rows()[0].failure == "boom"


def test_pace_and_time_left() -> None:
    story, view = Story(), SweepView(make_sweep())
    fold(view, story.sweep("running"))
    for number in range(10):
        fold(view, story.starts(number), story.trial(number, "pruned"))
    now = START + timedelta(seconds=21)
    assert view.trials_per_min(now) == 30
    assert view.eta_s(now) == 80
    fold(view, story.sweep("cancelled", "as asked"))
    assert view.eta_s(now) is None
    assert view.elapsed_s(now + timedelta(hours=1)) == 21


def test_the_wall_time_bounds_the_time_left() -> None:
    story = Story()
    spec = make_spec(budget={"wall_time_s": 100})
    view = fold(SweepView(make_sweep(spec=spec, num_trials=None)), story.sweep("running"))
    assert view.done is None
    assert view.eta_s(START + timedelta(seconds=41)) == 60


def test_memory_stays_bounded() -> None:
    story, view = Story(), SweepView(make_sweep(num_trials=5_000))
    for number in range(5_000):
        fold(view, story.starts(number), story.result(number, 1, 1 / (number + 1)), story.trial(number, "pruned"))
    assert view.finished == 5_000
    assert len(view.recent_rows()) == KEPT_RECENT
    assert len(view.best_rows(5_000)) <= 2 * KEPT_BEST
    assert view.best_rows(1)[0].number == 4_999


def test_events_of_newer_services_change_nothing() -> None:
    view = SweepView(make_sweep())
    assert view.apply(Story().event("sweep.paused", anything=1)) == []


def test_a_sweep_that_is_extended_goes_on() -> None:
    story, view = Story(), SweepView(make_sweep(num_trials=5))
    fold(view, story.sweep("succeeded"))
    fold(view, story.event("sweep.edited", num_trials=9, revision=2), story.sweep("queued"))
    assert (view.num_trials, view.state) == (9, "queued")
    assert view.ended_at is None
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
    assert {state: n for state, n in view.counts.items() if n} == {s: states.count(s) for s in set(states)}
    assert {row.number for row in view.live_rows()} == {number for number, s in last.items() if s not in FINISHED}
