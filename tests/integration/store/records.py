"""Makers of records for the store's tests: only what a test says differs from the plainest one."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from toprung.serve.store import Store
from toprung.tuning.records import Action, Batch, Decision, Result, Sweep, SweepState, Trial, TrialState
from toprung.tuning.spec import SweepSpec, spec_from

NOW = datetime(2026, 5, 1, 12, 30, 15, 123456, tzinfo=UTC)


def make_spec(**fields: Any) -> SweepSpec:
    return spec_from(
        {
            "trainable": "train:train_digits",
            "metric": {"name": "val_loss", "goal": "minimize"},
            "parameters": {"lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True}},
            "scheduler": {"type": "asha", "max_t": 27, "grace_period": 1},
            "budget": {"trials": 50},
            **fields,
        }
    )


def new_sweep(store: Store, *, running: bool = True, **fields: Any) -> Sweep:
    sweep, new = store.create_sweep(make_spec(**fields), name=None, num_trials=50)
    assert new
    return store.set_sweep_state(sweep.id, SweepState.RUNNING) if running else sweep


def trial(sweep: Sweep, number: int = 0, **fields: Any) -> Trial:
    plain: dict[str, Any] = {
        "sweep_id": sweep.id,
        "number": number,
        "state": TrialState.RUNNING,
        "params": {"lr": 0.01},
        "config": {"lr": 0.01, "epochs": 27},
        "attempt": 1,
        "created_at": NOW,
    }
    return Trial.model_validate(plain | fields)


def result(number: int = 0, step: int = 1, attempt: int = 1, **metrics: Any) -> Result:
    return Result(
        number=number,
        step=step,
        attempt=attempt,
        reported_at=NOW,
        time_total_s=1.5 * step,
        metrics=metrics or {"val_loss": 1.0 / (step or 1)},
    )


def decision(number: int = 0, rung: int = 1, **fields: Any) -> Decision:
    plain: dict[str, Any] = {
        "number": number,
        "attempt": 1,
        "rung": rung,
        "bracket": 0,
        "action": Action.STOP,
        "value": 0.41,
        "cutoff": 0.35,
        "rank": 7,
        "seen": 9,
        "places": 3,
        "decided_at": NOW,
    }
    return Decision.model_validate(plain | fields)


def write(store: Store, sweep: Sweep, **parts: Any) -> Batch:
    batch = Batch(sweep_id=sweep.id, **parts)
    store.write(batch)
    return batch


def everything(store: Store, sweep_id: str) -> dict[str, Any]:
    """All that the store says of a sweep."""
    trials = store.list_trials(sweep_id, limit=10_000).items
    return {
        "sweep": store.get_sweep(sweep_id),
        "trials": trials,
        "results": [store.list_results(sweep_id, each.number) for each in trials],
        "decisions": store.list_decisions(sweep_id, limit=10_000).items,
        "events": store.events_after(0, sweep_id=sweep_id, limit=10_000),
    }
