"""Sweeps as a runner leaves them in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.store.records import new_sweep, result, trial, write

from toprung.serve.store import Store
from toprung.serve.tracking.runs import RunTracker
from toprung.tuning.records import CheckpointRef, Failure, FailureKind, Sweep, SweepState, TrialState


def told(store: Store, *, ended: bool = True, home: Path | None = None, **tracking: Any) -> Sweep:
    """A sweep: trial 0 completed after two steps, trial 1 failed after one, trial 2 never ran.

    Args:
        ended: whether it has ended; else all that is known is the first step of both trials.
        home: where trial 0 leaves a checkpoint.
    """
    sweep = new_sweep(store, name="digits", tracking={"tensorboard": False, **tracking})
    write(store, sweep, trials=[trial(sweep, 0), trial(sweep, 1)])
    write(store, sweep, results=[result(0, 1, val_loss=0.5, accuracy=0.8), result(1, 1, val_loss=0.9, accuracy=0.1)])
    return finished(store, sweep, home) if ended else sweep


def finished(store: Store, sweep: Sweep, home: Path | None = None) -> Sweep:
    """The rest of it."""
    checkpoint = None
    if home is not None:
        folder = home / "runs" / sweep.id / "000000-1" / "checkpoint_000001"
        folder.mkdir(parents=True)
        (folder / "model.pt").write_bytes(b"weights")
        checkpoint = CheckpointRef(step=2, path=str(folder.relative_to(home)))
    failure = Failure(kind=FailureKind.USER_ERROR, message="ValueError: no")
    memory: dict[str, Any] = {"memory/rss_mb": 300.0}
    best = {"step": 2, "value": 0.25, "best_step": 2, "checkpoint": checkpoint}
    write(
        store,
        sweep,
        results=[result(0, 2, val_loss=0.25, accuracy=0.9, note="text", missing=None, **memory)],
        trials=[
            trial(sweep, 0, state=TrialState.COMPLETED, reason="reached max_t", **best),
            trial(sweep, 1, state=TrialState.FAILED, step=1, value=0.9, best_step=1, failure=failure),
            trial(sweep, 2, state=TrialState.CANCELLED, attempt=0),
        ],
    )
    return store.set_sweep_state(sweep.id, SweepState.SUCCEEDED, "all trials are over")


def drained(tracker: RunTracker) -> None:
    tracker.drain(60)
    tracker.close()


def warnings(store: Store, sweep: Sweep) -> list[str]:
    return [str(e.data["message"]) for e in store.events_after(0, sweep_id=sweep.id) if e.type == "warning"]
