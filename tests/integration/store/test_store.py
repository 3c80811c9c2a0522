"""What every store does, on each database."""

from __future__ import annotations

import math
from typing import Any

import pytest

from tests.integration.store.records import NOW, decision, everything, make_spec, new_sweep, result, trial, write
from toprung.errors import Conflict, InternalError, Malformed, NotFound
from toprung.serve.store import Store
from toprung.tuning.records import (
    Batch,
    Best,
    CheckpointRef,
    Failure,
    FailureKind,
    RunEnvironment,
    SweepState,
    TrialState,
)
from toprung.tuning.spec import Git

FAILURE = Failure(kind=FailureKind.USER_ERROR, message="ValueError: \0 no", traceback="train.py, line 3\n\0")


class TestSweeps:
    def test_a_new_sweep_is_queued_and_read_back_whole(self, store: Store) -> None:
        spec = make_spec(name="digits-cnn", priority=3)
        sweep, new = store.create_sweep(spec, name=None, num_trials=50)
        assert new
        assert (sweep.name, sweep.state, sweep.spec, sweep.num_trials) == ("digits-cnn", "queued", spec, 50)
        assert (sweep.trials, sweep.best, sweep.num_results, sweep.gpu_hours) == ({}, None, 0, 0.0)
        assert store.get_sweep(sweep.id) == sweep == store.get_sweep("digits-cnn")

    def test_a_sweep_without_a_name_is_named_after_its_trainable(self, store: Store) -> None:
        first, second = (new_sweep(store).name for _ in range(2))
        assert first.startswith("train-digits-")
        assert first != second

    def test_the_name_given_goes_before_the_specs(self, store: Store) -> None:
        sweep, _ = store.create_sweep(make_spec(name="a"), name="b", num_trials=None)
        assert store.get_sweep("b").id == sweep.id

    def test_a_name_means_its_newest_sweep(self, store: Store) -> None:
        ids = [new_sweep(store, name="digits").id for _ in range(3)]
        assert store.get_sweep("digits").id == ids[-1]
        assert ids == sorted(ids)

    @pytest.mark.parametrize("name", ["swp_0", "nobody", "", "a\0b", "ü" * 100])
    def test_no_such_sweep(self, store: Store, name: str) -> None:
        with pytest.raises(NotFound, match="toprung list"):
            store.get_sweep(name)

    def test_listing_filters_and_pages_newest_first(self, store: Store) -> None:
        made = [new_sweep(store, name=f"n{number % 2}", running=number != 3).id for number in range(7)][::-1]
        seen: list[str] = []
        cursor = None
        for _ in range(4):
            page = store.list_sweeps(cursor=cursor, limit=2)
            new_sweep(store)  # a newer one moves nothing
            seen += [sweep.id for sweep in page.items]
            cursor = page.next_cursor
        assert cursor is None
        assert seen == made
        assert [sweep.id for sweep in store.list_sweeps(state=SweepState.QUEUED).items] == [made[3]]
        assert [sweep.id for sweep in store.list_sweeps(name="n1").items] == made[1::2]
        assert store.list_sweeps(name="n\0").items == []
        found = store.list_sweeps(text="N1").items
        assert [sweep.id for sweep in found] == made[1::2]
        for nothing in ("n%", "_1", "n\0", "'"):
            assert store.list_sweeps(text=nothing).items == []

    def test_what_the_controller_works_on_is_by_priority_then_age(self, store: Store) -> None:
        low, high, also_low, done = (new_sweep(store, priority=priority) for priority in (0, 5, 0, 9))
        store.set_sweep_state(done.id, SweepState.SUCCEEDED)
        found = store.sweeps_in({SweepState.RUNNING, SweepState.QUEUED})
        assert [sweep.id for sweep in found] == [high.id, low.id, also_low.id]
        assert store.sweeps_in([]) == []


class TestIdempotency:
    def test_the_same_submission_again_gives_the_same_sweep(self, store: Store) -> None:
        arguments: dict[str, Any] = {"name": None, "num_trials": 1, "idempotency_key": "k", "body_hash": "h"}
        sweep, _ = store.create_sweep(make_spec(), **arguments)
        running = store.set_sweep_state(sweep.id, SweepState.RUNNING)
        assert store.create_sweep(make_spec(), **arguments) == (running, False)
        assert len(store.list_sweeps().items) == 1
        assert len(store.events_after(0)) == 2

    def test_the_same_key_with_another_body_is_a_conflict(self, store: Store) -> None:
        store.create_sweep(make_spec(), name=None, num_trials=1, idempotency_key="k", body_hash="h")
        with pytest.raises(Conflict, match="'k' came with another body") as caught:
            store.create_sweep(make_spec(), name=None, num_trials=1, idempotency_key="k", body_hash="other")
        assert caught.value.state == "queued"


class TestSweepStates:
    def test_its_life_is_timed_and_told(self, store: Store) -> None:
        sweep = new_sweep(store, running=False, name="digits")
        running = store.set_sweep_state(sweep.id, SweepState.RUNNING)
        done = store.set_sweep_state(sweep.id, SweepState.SUCCEEDED, "all trials ended")
        assert running.started_at is not None
        assert done.ended_at is not None
        assert sweep.created_at <= running.started_at <= done.ended_at
        assert done.reason == "all trials ended"
        events = store.events_after(0, sweep_id=sweep.id)
        assert [event.type for event in events] == ["sweep.state"] * 3
        assert [event.data for event in events] == [
            {"state": "queued", "reason": None, "name": "digits", "num_trials": 50},
            {"state": "running", "reason": None},
            {"state": "succeeded", "reason": "all trials ended"},
        ]

    def test_a_forbidden_step_is_a_conflict_with_the_present_state(self, store: Store) -> None:
        sweep = new_sweep(store, running=False)
        with pytest.raises(Conflict, match="is queued and cannot become succeeded") as caught:
            store.set_sweep_state(sweep.id, SweepState.SUCCEEDED)
        assert caught.value.state == "queued"
        assert len(store.events_after(0)) == 1

    def test_a_finished_sweep_leaves_no_trial_unfinished(self, store: Store) -> None:
        sweep = new_sweep(store)
        waiting = trial(sweep, 1, state=TrialState.PENDING, attempt=0)
        done = trial(sweep, 2, state=TrialState.COMPLETED)
        write(store, sweep, trials=[trial(sweep, 0, value=0.5), waiting, done])
        last = store.last_event_id()
        finished = store.set_sweep_state(sweep.id, SweepState.CANCELLED, "cancelled by its owner")
        assert finished.trials == {TrialState.CANCELLED: 2, TrialState.COMPLETED: 1}
        assert store.get_trial(sweep.id, 0).reason == "cancelled by its owner"
        assert store.get_trial(sweep.id, 0).ended_at is not None
        events = store.events_after(last)
        assert [event.type for event in events] == ["trial.state", "trial.state", "sweep.state"]
        assert [event.data.get("number") for event in events] == [0, 1, None]

    def test_trials_that_ran_when_the_runner_died_have_failed(self, store: Store) -> None:
        sweep = new_sweep(store)
        waiting = trial(sweep, 1, state=TrialState.PENDING, attempt=0)
        write(store, sweep, trials=[trial(sweep, 0, value=0.5, best_step=1), waiting])
        lost = Failure(kind=FailureKind.NODE_LOST, message="the runner's node was lost")
        failed = store.set_sweep_state(sweep.id, SweepState.FAILED, "its runner died", failure=lost)
        assert failed.trials == {TrialState.FAILED: 1, TrialState.CANCELLED: 1}
        assert failed.best is None
        assert store.get_trial(sweep.id, 0).failure == lost
        assert store.get_trial(sweep.id, 1).reason == "its runner died"

    def test_a_queued_sweep_is_cancelled_at_once(self, store: Store) -> None:
        sweep = store.request_cancel(new_sweep(store, running=False).id)
        assert sweep.state == SweepState.CANCELLED
        assert store.events_after(0)[-1].data["state"] == "cancelled"

    def test_a_running_sweep_notes_the_wish_once(self, store: Store) -> None:
        sweep = new_sweep(store)
        for _ in range(2):
            assert store.request_cancel(sweep.id).cancel_requested
        events = store.events_after(0)
        assert len(events) == 3
        assert events[-1].data == {"state": "running", "reason": None, "cancel_requested": True}

    def test_a_finished_sweep_cannot_be_cancelled(self, store: Store) -> None:
        sweep = store.request_cancel(new_sweep(store, running=False).id)
        with pytest.raises(Conflict, match="already been cancelled") as caught:
            store.request_cancel(sweep.id)
        assert caught.value.state == "cancelled"


class TestWrite:
    def test_everything_comes_back_as_it_was_sent(self, store: Store) -> None:
        sweep = new_sweep(store)
        sent = trial(
            sweep,
            4,
            state=TrialState.FAILED,
            params={"optimizer/lr": 0.1, "layers": [1, 2], "off": None},
            attempt=2,
            bracket=1,
            step=3,
            value=0.25,
            best_step=2,
            metrics={"val_loss": 0.5, "note": "ü", "ok": True},
            reason="raised",
            failure=FAILURE,
            checkpoint=CheckpointRef(step=2, path="/runs/4/2"),
            node="10.0.0.1",
            started_at=NOW,
            ended_at=NOW,
            gpu_hours=0.125,
        )
        reported = result(4, 3, 2, val_loss=0.5, nan=math.nan, text="a\0b", big=2**80)
        judged = decision(4, 3)
        write(store, sweep, trials=[sent], results=[reported], decisions=[judged])
        assert store.get_trial(sweep.id, 4) == sent
        assert store.list_results(sweep.id, 4) == [reported]
        assert store.list_decisions(sweep.id).items == [judged]
        assert reported.metrics["nan"] is None

    def test_events_tell_what_changed(self, store: Store) -> None:
        sweep = new_sweep(store)
        last = store.last_event_id()
        started = trial(sweep, 0)
        ended = trial(sweep, 0, state=TrialState.PRUNED, step=3, value=0.5, best_step=2, reason="stopped at rung 3")
        judged = decision(0, 3)
        reported = [result(0, step) for step in (1, 2, 3)]
        write(store, sweep, trials=[started, ended], results=reported, decisions=[judged], warnings=["disk is slow"])
        events = store.events_after(last, sweep_id=sweep.id)
        assert [event.type for event in events] == [
            "trial.state",
            "trial.results",
            "decision",
            "trial.state",
            "warning",
        ]
        first, results, decided, final, warned = (event.data for event in events)
        assert first["config"] == started.config
        assert results == {"number": 0, "step": 3, "count": 3, "value": 1 / 3, "metrics": {"val_loss": 1 / 3}}
        assert decided == judged.model_dump(mode="json")
        assert final == {
            "number": 0,
            "state": "pruned",
            "attempt": 1,
            "step": 3,
            "value": 0.5,
            "best_step": 2,
            "reason": "stopped at rung 3",
            "failure": None,
        }
        assert warned == {"message": "disk is slow"}

    def test_a_failure_is_told_without_its_traceback(self, store: Store) -> None:
        sweep = new_sweep(store)
        write(store, sweep, trials=[trial(sweep, state=TrialState.FAILED, failure=FAILURE)])
        told = store.events_after(0)[-1].data["failure"]
        assert told == {"kind": "user_error", "message": FAILURE.message}

    def test_progress_alone_is_no_change_of_state(self, store: Store) -> None:
        sweep = new_sweep(store)
        write(store, sweep, trials=[trial(sweep)])
        last = store.last_event_id()
        write(store, sweep, trials=[trial(sweep, step=1, value=1.0)], results=[result()])
        assert [event.type for event in store.events_after(last)] == ["trial.results"]

    def test_a_lost_attempt_waits_for_its_next_one(self, store: Store) -> None:
        sweep = new_sweep(store)
        life = [
            trial(sweep, attempt=0, state=TrialState.PENDING),
            trial(sweep, attempt=1, step=5),
            trial(sweep, attempt=1, step=5, state=TrialState.PENDING),
            trial(sweep, attempt=2, step=3),
        ]
        for row in life:
            write(store, sweep, trials=[row])
            assert store.get_trial(sweep.id, 0) == row
        assert store.get_sweep(sweep.id).trials == {TrialState.RUNNING: 1}

    def test_what_an_older_attempt_still_sends_is_refused(self, store: Store) -> None:
        sweep = new_sweep(store)
        write(store, sweep, trials=[trial(sweep, attempt=2)])
        before = everything(store, sweep.id)
        old = trial(sweep, attempt=1, step=9, state=TrialState.COMPLETED)
        write(store, sweep, trials=[old], results=[result(0, 9, attempt=1)], decisions=[decision(0, 9)])
        assert everything(store, sweep.id) == before

    def test_results_of_both_attempts_in_one_batch_are_kept(self, store: Store) -> None:
        sweep = new_sweep(store)
        both = [result(0, 1, attempt=1), result(0, 2, attempt=2)]
        write(store, sweep, trials=[trial(sweep), trial(sweep, attempt=2)], results=both)
        assert store.list_results(sweep.id, 0) == both

    def test_a_second_result_of_a_step_is_ignored(self, store: Store) -> None:
        sweep = new_sweep(store)
        first = result(0, 1, val_loss=0.5)
        write(store, sweep, trials=[trial(sweep)], results=[first, result(0, 1, val_loss=0.1)])
        write(store, sweep, results=[result(0, 1, val_loss=0.2), result(0, 2)])
        assert store.list_results(sweep.id, 0)[0] == first
        assert store.get_sweep(sweep.id).num_results == 2
        assert store.events_after(0)[-1].data["count"] == 1

    def test_a_finished_trial_takes_no_results(self, store: Store) -> None:
        sweep = new_sweep(store)
        write(store, sweep, trials=[trial(sweep, state=TrialState.COMPLETED)], results=[result(0, 1)])
        before = everything(store, sweep.id)
        write(store, sweep, trials=[trial(sweep, step=2, attempt=2)], results=[result(0, 2, attempt=2)])
        assert everything(store, sweep.id) == before

    def test_a_finished_sweep_takes_nothing(self, store: Store) -> None:
        sweep = store.request_cancel(new_sweep(store, running=False).id)
        before = everything(store, sweep.id)
        write(store, sweep, trials=[trial(sweep)], results=[result()], warnings=["late"])
        assert everything(store, sweep.id) == before

    def test_a_result_without_its_trial_writes_nothing(self, store: Store) -> None:
        sweep = new_sweep(store)
        with pytest.raises(InternalError, match="results of trial 7"):
            write(store, sweep, trials=[trial(sweep)], results=[result(7)])
        assert store.list_trials(sweep.id).items == []

    def test_no_such_sweep(self, store: Store) -> None:
        with pytest.raises(NotFound):
            store.write(Batch(sweep_id="swp_0"))

    def test_the_sweep_counts(self, store: Store) -> None:
        sweep = new_sweep(store)
        write(store, sweep, trials=[trial(sweep, number, gpu_hours=0.5) for number in range(3)], results=[result(1)])
        write(store, sweep, trials=[trial(sweep, 1, gpu_hours=1.5, state=TrialState.PRUNED)])
        now = store.get_sweep(sweep.id)
        assert now.trials == {TrialState.RUNNING: 2, TrialState.PRUNED: 1}
        assert (now.num_results, now.gpu_hours) == (1, 2.5)


class TestBest:
    @pytest.mark.parametrize(("goal", "order"), [("minimize", [2, 1, 3, 0]), ("maximize", [0, 1, 3, 2])])
    def test_best_first_in_the_goals_sense(self, store: Store, goal: str, order: list[int]) -> None:
        sweep = new_sweep(store, metric={"name": "val_loss", "goal": goal})
        values = [0.9, 0.5, -0.1, 0.5, None, math.nan]
        write(store, sweep, trials=[trial(sweep, number, value=value) for number, value in enumerate(values)])
        assert [best.trial.number for best in store.best_trials(sweep.id, 10)] == order
        assert [best.rank for best in store.best_trials(sweep.id, 2)] == [1, 2]
        by_value = [each.number for each in store.list_trials(sweep.id, order_by="value").items]
        assert by_value == [*order, 4, 5]
        best = store.get_sweep(sweep.id).best
        assert best is not None
        assert (best.number, best.value) == (order[0], values[order[0]])

    def test_a_failed_trial_is_not_the_best_any_more(self, store: Store) -> None:
        sweep = new_sweep(store)
        good = trial(sweep, 0, value=0.1, best_step=2, step=3)
        write(store, sweep, trials=[good, trial(sweep, 1, value=0.7, best_step=1, step=1)])
        assert store.get_sweep(sweep.id).best == Best(number=0, step=2, value=0.1)
        failed = good.model_copy(update={"state": TrialState.FAILED, "failure": FAILURE})
        write(store, sweep, trials=[failed])
        assert store.get_sweep(sweep.id).best == Best(number=1, step=1, value=0.7)
        assert [best.trial.number for best in store.best_trials(sweep.id, 5)] == [1]

    def test_the_metrics_are_those_of_the_best_step(self, store: Store) -> None:
        sweep = new_sweep(store)
        reported = [result(step=1, val_loss=0.2, accuracy=0.9), result(step=2, val_loss=0.4, accuracy=0.7)]
        row = trial(sweep, state=TrialState.COMPLETED, step=2, value=0.2, best_step=1)
        write(store, sweep, trials=[row], results=reported)
        assert store.best_trials(sweep.id, 1)[0].metrics == {"val_loss": 0.2, "accuracy": 0.9}

    def test_why_is_said_in_words(self, store: Store) -> None:
        sweep = new_sweep(store)
        rows = [
            trial(sweep, 0, state=TrialState.COMPLETED, step=27, value=0.08312, best_step=26),
            trial(sweep, 1, state=TrialState.PRUNED, step=3, value=0.4, best_step=3, reason="stopped at rung 3"),
            trial(sweep, 2, step=2, value=0.5, best_step=1),
            trial(sweep, 3, state=TrialState.COMPLETED, step=5, value=0.6, best_step=5),
        ]
        write(store, sweep, trials=rows)
        assert [best.why for best in store.best_trials(sweep.id, 4)] == [
            "lowest val_loss of 4 trials: 0.08312 at step 26; reached the last rung",
            "second lowest val_loss of 4 trials: 0.4 at step 3; stopped at rung 3",
            "third lowest val_loss of 4 trials: 0.5 at step 1; still running at step 2",
            "4th lowest val_loss of 4 trials: 0.6 at step 5; ended by itself at step 5",
        ]


class TestListings:
    def test_trials_by_state(self, store: Store) -> None:
        sweep = new_sweep(store)
        done = trial(sweep, 1, state=TrialState.COMPLETED)
        write(store, sweep, trials=[trial(sweep, 0), done])
        assert store.list_trials(sweep.id, state=TrialState.COMPLETED).items == [done]

    def test_results_after_a_step(self, store: Store) -> None:
        sweep = new_sweep(store)
        reported = [result(0, step) for step in range(1, 6)]
        write(store, sweep, trials=[trial(sweep)], results=reported[::-1])
        assert store.list_results(sweep.id, 0, after_step=2, limit=2) == reported[2:4]

    def test_results_are_tailed_by_id(self, store: Store) -> None:
        sweep, other = new_sweep(store), new_sweep(store)
        for step in (1, 2):
            for each in (sweep, other):
                write(store, each, trials=[trial(each)], results=[result(0, step)])
        (first, one), (second, two) = store.results_after(0, sweep_id=sweep.id, limit=10)
        assert (one, two) == (result(0, 1), result(0, 2))
        assert first < second
        assert store.results_after(first, sweep_id=sweep.id, limit=10) == [(second, two)]

    def test_decisions_page_and_filter(self, store: Store) -> None:
        sweep = new_sweep(store)
        judged = [decision(number, rung) for rung in (1, 3) for number in (0, 1)]
        write(store, sweep, trials=[trial(sweep, 0), trial(sweep, 1)], decisions=judged)
        page = store.list_decisions(sweep.id, limit=3)
        rest = store.list_decisions(sweep.id, limit=3, cursor=page.next_cursor)
        assert page.items + rest.items == judged
        assert rest.next_cursor is None
        assert store.list_decisions(sweep.id, number=1).items == judged[1::2]

    def test_events_of_all_sweeps_in_one_order(self, store: Store) -> None:
        one, two = new_sweep(store), new_sweep(store)
        store.add_event(one.id, "warning", {"message": "tracking is off"})
        events = store.events_after(0)
        assert [event.sweep_id for event in events] == [one.id, one.id, two.id, two.id, one.id]
        assert store.events_after(events[1].id, limit=2) == events[2:4]
        assert store.events_after(0, sweep_id=two.id) == events[2:4]
        assert store.last_event_id() == events[-1].id
        assert events[-1].data == {"message": "tracking is off"}

    def test_a_dropped_checkpoint_stays_dropped(self, store: Store) -> None:
        sweep = new_sweep(store)
        kept = CheckpointRef(step=2, path="/runs/0/2")
        first = write(store, sweep, trials=[trial(sweep, state=TrialState.COMPLETED, step=2, checkpoint=kept)])
        assert store.get_trial(sweep.id, 0).checkpoint == kept
        write(store, sweep, dropped_checkpoints=[0])
        store.write(first)
        assert store.get_trial(sweep.id, 0).checkpoint is None

    def test_the_same_warning_is_told_once(self, store: Store) -> None:
        one, two = new_sweep(store), new_sweep(store)
        for sweep in (one, one, two):
            write(store, sweep, warnings=["disk is slow", "disk is slow"])
        assert [event.sweep_id for event in store.events_after(0) if event.type == "warning"] == [one.id, two.id]

    def test_nothing_there(self, store: Store) -> None:
        assert (store.last_event_id(), store.events_after(0), store.list_sweeps().items) == (0, [], [])

    def test_cursors_of_readers(self, store: Store) -> None:
        assert store.get_cursor("tensorboard") == 0
        for value in (7, 9):
            store.set_cursor("tensorboard", value)
        assert store.get_cursor("tensorboard") == 9

    def test_of_no_sweep_there_is_nothing_to_list(self, store: Store) -> None:
        sweep = new_sweep(store)
        for call in (
            lambda: store.list_trials("swp_0"),
            lambda: store.list_decisions("swp_0"),
            lambda: store.best_trials("swp_0", 1),
            lambda: store.get_trial("swp_0", 0),
            lambda: store.add_event("swp_0", "warning", {}),
            lambda: store.list_results(sweep.id, 0),
            lambda: store.get_trial(sweep.id, 10**30),
        ):
            with pytest.raises(NotFound):
                call()

    def test_numbers_of_any_size_are_answered(self, store: Store) -> None:
        sweep = new_sweep(store)
        write(store, sweep, trials=[trial(sweep)])
        huge = 10**30
        assert store.events_after(huge) == []
        assert store.list_results(sweep.id, 0, after_step=huge, limit=huge) == []
        assert store.list_decisions(sweep.id, number=huge, limit=huge).items == []
        assert len(store.list_trials(sweep.id, limit=huge).items) == 1

    def test_a_cursor_of_another_order_names_its_parameter(self, store: Store) -> None:
        sweep = new_sweep(store)
        write(store, sweep, trials=[trial(sweep, 0), trial(sweep, 1)])
        cursor = store.list_trials(sweep.id, limit=1).next_cursor
        with pytest.raises(Malformed, match="parameter cursor") as caught:
            store.list_trials(sweep.id, order_by="value", cursor=cursor)
        assert [problem.pointer for problem in caught.value.problems] == ["/cursor"]


class TestPriorSweeps:
    def test_trials_with_the_objective_at_the_steps_asked_for(self, store: Store) -> None:
        sweep = new_sweep(store)
        lost = FAILURE.model_copy(update={"kind": FailureKind.NODE_LOST})
        trials = [
            trial(sweep, 0, state=TrialState.COMPLETED, step=27, value=0.1, best_step=9, params={"lr": 0.02}),
            trial(sweep, 1, state=TrialState.FAILED, failure=FAILURE),
            trial(sweep, 2, state=TrialState.FAILED, failure=lost),
            trial(sweep, 3, state=TrialState.PAUSED, step=3),
        ]
        results = [result(0, step, val_loss=1 / step, other=7) for step in range(1, 28)]
        results += [result(3, 1, val_loss=None), result(3, 2, other=1), result(3, 3, val_loss=True)]
        write(store, sweep, trials=trials, results=results)
        write(store, new_sweep(store), trials=[], results=[])

        prior = store.prior_sweep(sweep.id, (1, 3, 9, 81))

        assert (prior.name, prior.spec) == (sweep.name, sweep.spec)
        first, user_error, lost_node, paused = prior.trials
        assert (first.state, first.params, first.config) == ("completed", {"lr": 0.02}, {"lr": 0.01, "epochs": 27})
        assert (first.step, first.value, first.best_step, first.infeasible) == (27, 0.1, 9, False)
        assert first.values == {1: 1.0, 3: pytest.approx(1 / 3), 9: pytest.approx(1 / 9)}
        assert [each.infeasible for each in (user_error, lost_node, paused)] == [True, False, False]
        assert (paused.values, paused.value) == ({}, None), "no number was reported there"

    def test_without_steps_and_without_trials(self, store: Store) -> None:
        sweep = new_sweep(store)
        assert store.prior_sweep(sweep.id, (1, 3)).trials == []
        write(store, sweep, trials=[trial(sweep)], results=[result()])
        assert [each.values for each in store.prior_sweep(sweep.id, ()).trials] == [{}]
        with pytest.raises(NotFound):
            store.prior_sweep("swp_0", (1,))


def test_what_trials_ran_with_is_kept_once(store: Store) -> None:
    sweep = new_sweep(store)
    other = RunEnvironment(python="3.12.1", platform="Linux")
    known = RunEnvironment(
        python="3.11.7", platform="Linux", gpus=("NVIDIA H200",), packages={"torch": "2.6"}, git=Git(commit="c" * 40)
    )
    rows = [trial(sweep, n, seed=2**32 - n, environment=known.key) for n in (1, 2)]
    for _ in range(2):  # what is sent again changes nothing
        write(store, sweep, trials=[trial(sweep, 0), *rows], environments=[known])
    write(store, sweep, trials=[trial(sweep, 2, attempt=2, seed=7, environment=other.key)], environments=[known, other])

    found = [store.trial_environment(sweep.id, number) for number in range(3)]
    assert [(one.attempt, one.seed, one.environment) for one in found] == [
        (1, None, None),
        (1, 2**32 - 1, known),
        (2, 7, other),
    ]
    with pytest.raises(NotFound, match="no trial 9"):
        store.trial_environment(sweep.id, 9)
