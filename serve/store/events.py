"""The log of changes: one growing id for all sweeps, written in the transaction of the change itself."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import Connection, func, insert, select

from toprung.serve.store.database import Database
from toprung.serve.store.rows import event_of, to_text
from toprung.serve.store.tables import DELETED, cursors, events, sweeps
from toprung.tuning.records import Event, Milestone, Sweep, Trial, utc_now

SWEEP_STATE = "sweep.state"
SWEEP_EDITED = "sweep.edited"
TRIAL_STATE = "trial.state"
TRIAL_RESULTS = "trial.results"
DECISION = "decision"
BUDGET = "budget"
WARNING = "warning"

_LAST_ID = "events/last-id"
"""Cursor: the newest event when a sweep was last deleted, which may have been one of its own."""


def event_row(sweep_id: str, type: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"sweep_id": sweep_id, "type": type, "at": utc_now(), "data": to_text(data), "fingerprint": None}


def warning_row(sweep_id: str, message: str) -> dict[str, Any]:
    """The row of a warning, which is written once for each sweep and text."""
    return _once(event_row(sweep_id, WARNING, {"message": message}), message)


def milestone_row(sweep_id: str, milestone: Milestone) -> dict[str, Any]:
    """The row of a part of the budget that was reached, which is written once for each limit."""
    key = f"budget/{milestone.budget}/{milestone.limit!r}/{milestone.percent}"
    return _once(event_row(sweep_id, BUDGET, milestone.model_dump()), key)


def _once(row: dict[str, Any], key: str) -> dict[str, Any]:
    return row | {"fingerprint": hashlib.sha256(key.encode()).hexdigest()}


def sweep_state(sweep: Sweep, **more: Any) -> dict[str, Any]:
    return event_row(sweep.id, SWEEP_STATE, {"state": sweep.state, "reason": sweep.reason, **more})


def sweep_edited(sweep: Sweep, **changes: Any) -> dict[str, Any]:
    return event_row(sweep.id, SWEEP_EDITED, {"revision": sweep.revision, "num_trials": sweep.num_trials, **changes})


def trial_state(trial: Trial, *, first: bool) -> dict[str, Any]:
    """The row of a trial's change of state or attempt; its first event says what is being tried."""
    failure = trial.failure and trial.failure.model_dump(include={"kind", "message"})
    data = {
        **trial.model_dump(include={"number", "state", "attempt", "step", "value", "best_step", "reason"}),
        "failure": failure,
        **({"config": trial.config} if first else {}),
    }
    return event_row(trial.sweep_id, TRIAL_STATE, data)


def add(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Write events; `rows` must have no fingerprint that is there already."""
    if rows:
        connection.execute(insert(events), rows)


def after(connection: Connection, event_id: int, sweep_id: str | None, limit: int) -> list[Event]:
    deleted = select(sweeps.c.id).where(sweeps.c.state == DELETED)
    query = select(events).where(events.c.id > event_id, events.c.sweep_id.not_in(deleted))
    query = query.order_by(events.c.id).limit(limit)
    if sweep_id is not None:
        query = query.where(events.c.sweep_id == sweep_id)
    return [event_of(row) for row in connection.execute(query)]


def last_id(connection: Connection) -> int:
    newest = connection.execute(select(func.max(events.c.id))).scalar() or 0
    noted = connection.execute(select(cursors.c.value).where(cursors.c.name == _LAST_ID)).scalar() or 0
    return int(max(newest, noted))


def keep_last_id(database: Database, connection: Connection) -> None:
    """Before events are removed: `last_id` never goes back, as those who have seen an event ask for what follows it."""
    value = last_id(connection)
    insert = database.insert(cursors).values(name=_LAST_ID, value=value)
    connection.execute(insert.on_conflict_do_update(index_elements=["name"], set_={"value": value}))
