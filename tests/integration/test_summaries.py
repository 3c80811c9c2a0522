"""What trials write for TensorBoard, collected by a real service while its tracker and its runner are killed."""

from __future__ import annotations

import os
import signal
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

from tests.integration.conftest import Service, Submit, processes_of, until
from toprung.client import SweepHandle
from toprung.tuning.records import SweepState

ON = {"tensorboard": True}


def steps_by_tag(service: Service, sweep: SweepHandle, number: int) -> dict[str, list[int]]:
    """All that a trial's event files hold, record by record."""
    folder = service.home / "tensorboard" / f"{sweep.name}-{sweep.id[-6:]}" / f"{number:05d}"
    found: dict[str, list[int]] = defaultdict(list)
    for path in sorted(folder.glob("*")):
        for event in EventFileLoader(str(path)).Load():
            for value in event.summary.value:
                found[value.tag].append(event.step)
    return found


def written(service: Service, sweep: SweepHandle) -> bool:
    """Whether the tracker is done with the sweep."""
    waiting: Path = service.home / "summaries" / sweep.id
    ends = [steps_by_tag(service, sweep, trial.number)["_hparams_/session_end_info"] for trial in sweep.trials()]
    return all(ends) and not waiting.exists()


def kill(service: Service, actor: str) -> None:
    for process in until(lambda: processes_of(service, actor), what=f"a process of {actor}"):
        os.kill(process.pid, signal.SIGKILL)


@pytest.mark.deep
def test_each_step_is_there_once_whatever_is_killed(service: Service, submit: Submit) -> None:
    sweep = submit(
        "pictured",
        trainable="board_trainables:Pictured",
        metric={"name": "train_loss", "goal": "minimize"},
        parameters={"lr": {"type": "float", "low": 0.01, "high": 0.3}, "pause_s": 0.2},
        budget={"trials": 6},
        scheduler={"type": "asha", "max_t": 9, "grace_period": 1, "reduction_factor": 3, "mode": "promote"},
        concurrency=2,
        tracking=ON,
        wait=False,
    )
    until(lambda: sum(t.record.step for t in sweep.trials()) >= 4, timeout_s=180, what="results")
    kill(service, "TrackerActor")
    until(lambda: any(t.record.step >= 4 for t in sweep.trials()), timeout_s=180, what="a promoted trial")
    kill(service, "RunnerActor")

    assert sweep.wait(timeout_s=240, progress=False).state is SweepState.SUCCEEDED
    until(lambda: written(service, sweep), timeout_s=120, what="the tracker's end")
    attempts = []
    for trial in sweep.trials():
        steps = list(range(1, trial.record.step + 1))
        found = steps_by_tag(service, sweep, trial.number)
        for tag in ("train_loss", "distance", "weight", "weights/bias", "gradients/weight"):
            assert found[tag] == steps, (trial.number, tag)
        assert found["seen"] == [64 * step for step in steps], "in steps of the trial's own"
        assert found["model/text_summary"] == [0]
        assert found["final/train_loss"] == [trial.record.best_step]
        attempts.append(trial.record.attempt)
    assert max(attempts) > 1, "one was promoted, or taken up again"


def test_a_function_and_what_it_writes_after_its_last_report(service: Service, submit: Submit) -> None:
    changes: dict[str, Any] = {
        "trainable": "board_trainables:own_loop",
        "metric": {"name": "train_loss", "goal": "minimize"},
    }
    sweep = submit("own-loop", **changes, budget={"trials": 1}, tracking=ON)
    assert sweep.state is SweepState.SUCCEEDED
    until(lambda: written(service, sweep), timeout_s=120, what="the tracker's end")
    found = steps_by_tag(service, sweep, 0)
    assert found["line/a"] == found["line/b"] == found["train_loss"] == [1, 2, 3, 4]
    assert found["last/text_summary"] == [0]
