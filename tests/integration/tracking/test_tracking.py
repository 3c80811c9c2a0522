"""What TensorBoard and W&B are told, read back from their files; and what happens when they fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tests.integration.store.records import new_sweep, result, trial, write
from tests.integration.tracking.wandb_file import Run, read_run

from toprung.serve.store import Store
from toprung.serve.tracking.sink import Sink
from toprung.serve.tracking.tracker import Tracker
from toprung.tuning.records import Failure, FailureKind, Result, Sweep, SweepState, Trial, TrialState

CANARY = "c0ffee" + "0" * 34


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path}/toprung.db")
    yield opened
    opened.close()


def told(store: Store, **tracking: Any) -> Sweep:
    """A sweep that ended: trial 0 completed after two steps, trial 1 failed after one."""
    sweep = new_sweep(store, name="digits", tracking={"tensorboard": False, **tracking})
    write(store, sweep, trials=[trial(sweep, 0), trial(sweep, 1)])
    write(store, sweep, results=[result(0, 1, val_loss=0.5, accuracy=0.8), result(1, 1, val_loss=0.9, accuracy=0.1)])
    failure = Failure(kind=FailureKind.USER_ERROR, message="ValueError: no")
    write(
        store,
        sweep,
        results=[result(0, 2, val_loss=0.25, accuracy=0.9)],
        trials=[
            trial(sweep, 0, state=TrialState.COMPLETED, step=2, value=0.25, best_step=2, reason="reached max_t"),
            trial(sweep, 1, state=TrialState.FAILED, step=1, value=0.9, best_step=1, failure=failure),
        ],
    )
    return store.set_sweep_state(sweep.id, SweepState.SUCCEEDED)


def drained(tracker: Tracker) -> None:
    tracker.drain(60)
    tracker.close()


def warnings(store: Store, sweep: Sweep) -> list[str]:
    return [str(e.data["message"]) for e in store.events_after(0, sweep_id=sweep.id) if e.type == "warning"]


def accumulator(home: Path, number: int) -> EventAccumulator:
    (folder,) = (home / "tensorboard").glob(f"digits-*/{number:05d}")
    return EventAccumulator(str(folder)).Reload()


class TestTensorBoard:
    def test_every_metric_of_every_step(self, store: Store, tmp_path: Path) -> None:
        told(store, tensorboard=True)
        drained(Tracker(store, tmp_path))

        read = accumulator(tmp_path, 0)
        assert [(s.step, round(s.value, 6)) for s in read.Scalars("val_loss")] == [(1, 0.5), (2, 0.25)]
        assert [(s.step, round(s.value, 6)) for s in read.Scalars("accuracy")] == [(1, 0.8), (2, 0.9)]
        assert [s.step for s in accumulator(tmp_path, 1).Scalars("val_loss")] == [1]

    def test_hparams_with_the_final_value(self, store: Store, tmp_path: Path) -> None:
        told(store, tensorboard=True)
        drained(Tracker(store, tmp_path))

        read = accumulator(tmp_path, 0)
        (final,) = read.Scalars("final/val_loss")
        content = read.PluginTagToContent("hparams")
        start = HParamsPluginData.FromString(content["_hparams_/session_start_info"]).session_start_info
        assert final.value == 0.25
        assert start.hparams["lr"].number_value == 0.01
        assert "_hparams_/session_end_info" in content

    def test_a_restart_goes_on(self, store: Store, tmp_path: Path) -> None:
        sweep = new_sweep(store, name="digits")
        write(store, sweep, trials=[trial(sweep)], results=[result(step=1)])
        first = Tracker(store, tmp_path)
        assert first.step()
        first.close()

        end = trial(sweep, state=TrialState.COMPLETED, step=2, value=0.5, best_step=2)
        write(store, sweep, trials=[end], results=[result(step=2)])
        store.set_sweep_state(sweep.id, SweepState.SUCCEEDED)
        drained(Tracker(store, tmp_path))

        read = accumulator(tmp_path, 0)
        assert [s.step for s in read.Scalars("val_loss")] == [1, 2]
        assert [s.value for s in read.Scalars("final/val_loss")] == [0.5]


class TestWandb:
    @pytest.fixture
    def runs(self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Run]:
        monkeypatch.setenv("WANDB_API_KEY", CANARY)
        sweep = told(store, wandb={"project": "demo", "tags": ["a", "b"]})
        drained(Tracker(store, tmp_path))
        assert warnings(store, sweep) == []
        runs = [read_run(path) for path in (tmp_path / "wandb").rglob("*.wandb")]
        assert len(runs) == 2
        return {run.name: run for run in runs}

    def test_one_run_per_trial(self, runs: dict[str, Run]) -> None:
        run = runs["digits-0"]
        assert runs.keys() == {"digits-0", "digits-1"}
        assert run.group.startswith("digits-")
        assert run.group == runs["digits-1"].group
        assert run.tags == ["a", "b"]
        assert (run.config["lr"], run.config["epochs"]) == (0.01, 27)

    def test_metrics_by_step(self, runs: dict[str, Run]) -> None:
        history = [(row["_step"], row["val_loss"], row["accuracy"]) for row in runs["digits-0"].history]
        assert history == [(1, 0.5, 0.8), (2, 0.25, 0.9)]

    def test_the_final_state(self, runs: dict[str, Run]) -> None:
        summary = runs["digits-0"].summary
        assert (summary["state"], summary["best_value"], summary["best_step"]) == ("completed", 0.25, 2)
        assert (runs["digits-0"].exit_code, runs["digits-1"].exit_code) == (0, 1)
        assert runs["digits-1"].summary["reason"] == "ValueError: no"

    def test_the_key_is_nowhere(self, runs: dict[str, Run], tmp_path: Path) -> None:
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert runs
        assert [path for path in files if CANARY.encode() in path.read_bytes()] == []

    def test_disabled_writes_nothing(self, store: Store, tmp_path: Path) -> None:
        told(store, wandb={"project": "demo", "mode": "disabled"})
        drained(Tracker(store, tmp_path))
        assert [*tmp_path.rglob("*.wandb")] == []

    def test_online_without_a_key_is_told_once(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("WANDB_API_KEY", raising=False)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        wandb.teardown()  # it keeps the credentials of earlier tests
        sweep = told(store, tensorboard=True, wandb={"project": "demo", "mode": "online"})
        drained(Tracker(store, tmp_path))
        (warning,) = warnings(store, sweep)
        assert "WANDB_API_KEY" in warning
        assert accumulator(tmp_path, 0).Scalars("val_loss"), "the other one goes on"


class Failing:
    """A sink that fails in one of its calls."""

    def __init__(self, call: str) -> None:
        self._call = call

    def _maybe(self, call: str) -> None:
        if call == self._call:
            raise OSError("the disk is full")

    def start(self, sweep: Sweep, trial: Trial) -> None:
        self._maybe("start")

    def write(self, trial: Trial, results: Sequence[Result]) -> None:
        self._maybe("write")

    def finish(self, trial: Trial) -> None:
        self._maybe("finish")

    def flush(self) -> None:
        self._maybe("flush")

    def close(self) -> None:
        self._maybe("close")


@pytest.mark.parametrize("call", ["make", "start", "write", "finish", "flush", "close"])
def test_a_failure_is_told_once_and_ends_there(store: Store, tmp_path: Path, call: str) -> None:
    def make() -> Sink:
        if call == "make":
            raise ImportError("no such library")
        return Failing(call)

    sinks: dict[str, Callable[[], Sink]] = {"failing": make}
    sweep = told(store, tensorboard=True)
    drained(Tracker(store, tmp_path, sinks=lambda *_: sinks))

    (warning,) = warnings(store, sweep)
    assert warning.startswith("failing is off for this sweep: ")


class Noting:
    """A sink that notes what it is told."""

    def __init__(self, told: list[str], sweep: Sweep) -> None:
        self._told = told
        self._name = sweep.name

    def start(self, sweep: Sweep, trial: Trial) -> None:
        self._told.append(f"{self._name} starts {trial.number}")

    def write(self, trial: Trial, results: Sequence[Result]) -> None:
        self._told.append(f"{self._name} writes {len(results)}")

    def finish(self, trial: Trial) -> None:
        self._told.append(f"{self._name} finishes {trial.number}")

    def flush(self) -> None: ...

    def close(self) -> None:
        self._told.append(f"{self._name} closes")


@pytest.mark.parametrize("rows_too", [False, True])
def test_a_deleted_sweep_is_let_go_and_the_others_go_on(store: Store, tmp_path: Path, rows_too: bool) -> None:
    """It had ended, and was deleted before the tracker had seen that."""
    gone, other = new_sweep(store, name="gone"), new_sweep(store, name="other")
    notes: list[str] = []
    tracker = Tracker(store, tmp_path, sinks=lambda sweep, _: {"noting": lambda: Noting(notes, sweep)})
    for sweep in (gone, other):
        write(store, sweep, trials=[trial(sweep)], results=[result(step=1)])
    assert tracker.step()
    store.set_sweep_state(gone.id, SweepState.SUCCEEDED)
    store.delete_sweep(gone.id)
    while rows_too and not store.retention.remove_rows(gone.id, 100):
        pass
    write(store, other, results=[result(step=2)])
    notes.clear()

    assert tracker.step()
    assert not tracker.step()

    assert sorted(notes) == ["gone closes", "other writes 1"]
    tracker.close()


def test_a_sweep_that_is_extended_is_not_written_twice(store: Store, tmp_path: Path) -> None:
    sweep = told(store, tensorboard=True)
    drained(Tracker(store, tmp_path))
    store.edits.extend(sweep.id, {"trials": 60})
    store.set_sweep_state(sweep.id, SweepState.RUNNING)
    again = trial(sweep, 7, state=TrialState.COMPLETED, step=1, value=0.4, best_step=1)
    write(store, sweep, trials=[again], results=[result(7, step=1)])
    store.set_sweep_state(sweep.id, SweepState.SUCCEEDED)

    drained(Tracker(store, tmp_path))

    assert [s.step for s in accumulator(tmp_path, 7).Scalars("val_loss")] == [1]
    files = list((tmp_path / "tensorboard").rglob("events.out.*"))
    assert len([path for path in files if path.parent.name == files[0].parent.name]) == 1
    assert [s.step for s in accumulator(tmp_path, 0).Scalars("val_loss")] == [1, 2], "each once"
