"""What TensorBoard is told, read back from its files; and what happens when a tracking system fails."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tests.integration.store.records import new_sweep, result, trial, write
from tests.integration.tracking.told import told, warnings

from toprung.serve.store import Store
from toprung.serve.tracking.sink import Sink
from toprung.serve.tracking.tracker import Tracker
from toprung.tuning.records import Failure, FailureKind, Result, Sweep, SweepState, Trial, TrialState


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path}/toprung.db")
    yield opened
    opened.close()


def drained(tracker: Tracker) -> None:
    tracker.drain(60)
    tracker.close()


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

    def test_a_tracker_killed_before_it_has_moved_on_writes_nothing_twice(self, store: Store, tmp_path: Path) -> None:
        sweep = told(store, tensorboard=True)
        for _ in range(2):
            drained(Tracker(store, tmp_path))
            store.set_cursor(f"tracker/{sweep.id}", 0)  # as it is before the first round's end

        for number, steps in ((0, [1, 2]), (1, [1])):
            (path,) = (tmp_path / "tensorboard").glob(f"digits-*/{number:05d}/*")
            tags = [(v.tag, e.step) for e in EventFileLoader(str(path)).Load() for v in e.summary.value]
            assert [step for tag, step in tags if tag == "val_loss"] == steps
            assert len(tags) == len(set(tags)), "hparams, texts and the final value too"

    def test_the_configuration_and_a_failure_as_text(self, store: Store, tmp_path: Path) -> None:
        sweep = new_sweep(store, name="digits")
        failure = Failure(kind=FailureKind.USER_ERROR, message="ValueError: no", traceback="File train.py, line 3")
        write(store, sweep, trials=[trial(sweep, 0, state=TrialState.FAILED, failure=failure)])
        store.set_sweep_state(sweep.id, SweepState.SUCCEEDED)
        drained(Tracker(store, tmp_path))

        read = accumulator(tmp_path, 0)  # though it has no result
        said = {tag: read.Tensors(tag)[0].tensor_proto.string_val[0].decode() for tag in ("config", "failure")}
        assert said["config"] == "    lr: 0.01\n    epochs: 27\n"
        assert said["failure"].splitlines() == [
            "**user_error**",
            "",
            "    ValueError: no",
            "",
            "    File train.py, line 3",
        ]


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

    def end(self, sweep: Sweep, trials: Iterable[Trial]) -> None:
        self._maybe("end")

    def flush(self) -> None:
        self._maybe("flush")

    def close(self) -> None:
        self._maybe("close")


@pytest.mark.parametrize("call", ["make", "start", "write", "finish", "end", "flush", "close"])
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

    def end(self, sweep: Sweep, trials: Iterable[Trial]) -> None: ...

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
