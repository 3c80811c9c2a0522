"""What is in the store of the service that the tests talk to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.unit.cli.cli_help import config, make_spec

from toprung.serve.home import Home
from toprung.serve.store import Store
from toprung.tuning.records import Batch, Decision, Failure, Result, Sweep, SweepState, Trial, TrialState

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)
TRACEBACK = 'Traceback (most recent call last):\n  File "train.py", line 41, in train\nValueError: bad shapes'


@dataclass
class Served:
    url: str
    store: Store
    home: Home
    done: Sweep
    """A sweep that succeeded: trial 0 completed, 1 pruned, 2 failed."""
    running: Sweep
    queued: Sweep


def seeded(url: str, store: Store, home: Home) -> Served:
    done = new_sweep(store, "digits-cnn")
    store.set_sweep_state(done.id, SweepState.RUNNING)
    seed_trials(store, home, done)
    done = store.set_sweep_state(done.id, SweepState.SUCCEEDED, "all 3 trials ended")
    running = new_sweep(store, "still-going")
    running = store.set_sweep_state(running.id, SweepState.RUNNING)
    store.write(Batch(sweep_id=running.id, trials=[trial(running, 0, "running")]))
    return Served(url, store, home, done, running, new_sweep(store, "waiting"))


def new_sweep(store: Store, name: str) -> Sweep:
    return store.create_sweep(make_spec(name=name, budget={"trials": 3}), name=name, num_trials=3)[0]


def trial(sweep: Sweep, number: int, state: str, **fields: Any) -> Trial:
    given = config(number)
    plain: dict[str, Any] = {
        "sweep_id": sweep.id,
        "number": number,
        "state": TrialState(state),
        "params": {"lr": given["lr"], "batch_size": given["batch_size"], "optimizer": given["optimizer"]},
        "config": given,
        "attempt": 1,
        "created_at": START,
        "started_at": START,
    }
    return Trial.model_validate(plain | fields)


def result(number: int, step: int, value: float) -> Result:
    metrics = {"val_loss": value, "accuracy": 1 - value, "memory/rss_mb": 512.0}
    return Result(number=number, step=step, attempt=1, reported_at=START, time_total_s=step, metrics=metrics)


def seed_trials(store: Store, home: Home, sweep: Sweep) -> None:
    checkpoint = home.runs / sweep.id / "0" / "checkpoint"
    checkpoint.mkdir(parents=True)
    (checkpoint / "checkpoint.pt").write_bytes(b"weights")
    log = home.log(sweep.id, 0, 1)
    log.parent.mkdir(parents=True)
    log.write_text("epoch 1\nepoch 2\n")
    end = {"ended_at": START + timedelta(minutes=3)}
    reason = "stopped at rung 1: 0.41, cutoff 0.35, rank 2 of 2"
    failure = Failure(kind="user_error", message="ValueError: bad shapes", traceback=TRACEBACK)
    trials = [
        trial(
            sweep,
            0,
            "completed",
            step=27,
            value=0.083,
            best_step=27,
            metrics={"val_loss": 0.083, "accuracy": 0.917},
            checkpoint={"step": 27, "path": str(checkpoint)},
            **end,
        ),
        trial(sweep, 1, "pruned", step=1, value=0.41, best_step=1, reason=reason, metrics={"val_loss": 0.41}, **end),
        trial(sweep, 2, "failed", reason="it raised an error", failure=failure, **end),
    ]
    results = [result(0, 1, 0.35), result(0, 3, 0.2), result(0, 27, 0.083), result(1, 1, 0.41)]
    decisions = [decision(0, "promote", 0.35, 1, 1), decision(1, "stop", 0.41, 2, 2)]
    store.write(Batch(sweep_id=sweep.id, trials=trials, results=results, decisions=decisions, warnings=["W&B is away"]))


def decision(number: int, action: str, value: float, rank: int, seen: int) -> Decision:
    return Decision(
        number=number,
        attempt=1,
        rung=1,
        bracket=0,
        action=action,
        value=value,
        cutoff=0.35,
        rank=rank,
        seen=seen,
        places=1,
        decided_at=START,
    )
