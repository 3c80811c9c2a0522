"""Sweeps: making, finding and moving them from state to state."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import Connection, func, insert, select, update

from toprung.errors import Conflict, NotFound
from toprung.serve.store import events
from toprung.serve.store.database import Database
from toprung.serve.store.ids import new_sweep_id, readable_name
from toprung.serve.store.paging import decode_cursor, page_of
from toprung.serve.store.progress import save, standing_of
from toprung.serve.store.rows import sweep_of, trial_of
from toprung.serve.store.tables import DELETED, sweeps, trials
from toprung.tuning.records import SWEEP_TRANSITIONS, Failure, Page, Sweep, SweepState, Trial, TrialState, utc_now
from toprung.tuning.spec import SweepSpec

THERE = sweeps.c.state != DELETED
"""Condition of every look at sweeps: a deleted one is none, even while its rows are being removed."""

_ORDER = "sweeps"
_UNFINISHED = [state.value for state in TrialState if not state.finished]


def no_sweep(id_or_name: str) -> NotFound:
    return NotFound(f"There is no sweep {id_or_name!r}; `toprung list` shows those there are.")


def create(
    connection: Connection,
    spec: SweepSpec,
    *,
    name: str | None,
    num_trials: int | None,
    owner: str | None,
    idempotency_key: str | None,
    body_hash: str | None,
) -> tuple[Sweep, bool]:
    if idempotency_key is not None:
        row = connection.execute(select(sweeps).where(sweeps.c.idempotency_key == idempotency_key)).one_or_none()
        if row is not None and row.body_hash != body_hash:
            raise Conflict(
                f"The idempotency key {idempotency_key!r} came with another body before (sweep {row.id}). "
                "Send the same body to have the same sweep, or a new key for a new one.",
                state=row.state,
            )
        if row is not None and row.owner != owner:
            raise Conflict(
                f"The idempotency key {idempotency_key!r} came from another owner before. Send a new one.",
                state=row.state,
            )
        if row is not None:
            return sweep_of(row), False
    for prior in spec.search.prior:
        get(connection, prior)
    sweep_id = new_sweep_id(connection.execute(select(func.max(sweeps.c.id))).scalar())
    values = {
        "id": sweep_id,
        "name": name or spec.name or readable_name(spec),
        "owner": owner,
        "state": SweepState.QUEUED.value,
        "spec": spec.model_dump_json(),
        "metric_name": spec.metric.name,
        "goal": spec.metric.goal,
        "priority": spec.priority,
        "created_at": utc_now(),
        "num_trials": num_trials,
        "idempotency_key": idempotency_key,
        "body_hash": body_hash,
    }
    connection.execute(insert(sweeps).values(values))
    sweep = get(connection, sweep_id)
    events.add(connection, [events.sweep_state(sweep, name=sweep.name, num_trials=num_trials)])
    return sweep, True


def get(connection: Connection, id_or_name: str) -> Sweep:
    if id_or_name.isprintable():  # PostgreSQL refuses a NUL even to compare with
        by_name = select(sweeps).where(sweeps.c.name == id_or_name, THERE).order_by(sweeps.c.id.desc()).limit(1)
        for query in (select(sweeps).where(sweeps.c.id == id_or_name, THERE), by_name):
            row = connection.execute(query).one_or_none()
            if row is not None:
                return sweep_of(row)
    raise no_sweep(id_or_name)


def find(
    connection: Connection,
    *,
    state: SweepState | None,
    name: str | None,
    owner: str | None,
    text: str | None = None,
    cursor: str | None,
    limit: int,
) -> Page[Sweep]:
    query = select(sweeps).where(THERE).order_by(sweeps.c.id.desc()).limit(limit + 1)
    if state is not None:
        query = query.where(sweeps.c.state == SweepState(state).value)
    if name is not None:
        query = query.where(sweeps.c.name == (name if name.isprintable() else ""))
    if owner is not None:
        query = query.where(sweeps.c.owner == (owner if owner.isprintable() else ""))
    if text is not None:
        known = text if text.isprintable() else "\ufffd"  # PostgreSQL takes no NUL
        query = query.where(sweeps.c.name.icontains(known, autoescape=True))
    if cursor is not None:
        (last,) = decode_cursor(cursor, _ORDER, (str,))
        query = query.where(sweeps.c.id < last)
    rows = connection.execute(query).all()
    return page_of(rows, limit, _ORDER, lambda row: (row.id,), sweep_of)


def in_states(connection: Connection, states: Collection[SweepState]) -> list[Sweep]:
    wanted = [SweepState(state).value for state in states]
    query = select(sweeps).where(sweeps.c.state.in_(wanted)).order_by(sweeps.c.priority.desc(), sweeps.c.id)
    return [sweep_of(row) for row in connection.execute(query)]


def set_state(
    database: Database,
    connection: Connection,
    sweep: Sweep,
    state: SweepState,
    reason: str | None,
    failure: Failure | None = None,
    revision: int | None = None,
) -> Sweep:
    if state not in SWEEP_TRANSITIONS[sweep.state]:
        raise Conflict(f"Sweep {sweep.name} is {sweep.state} and cannot become {state}.", state=sweep.state)
    if state in (SweepState.SUCCEEDED, SweepState.FAILED) and revision is not None and revision < sweep.revision:
        state, reason = SweepState.QUEUED, None
    values: dict[str, Any] = {"state": state.value, "reason": reason}
    if state is SweepState.RUNNING:
        values |= _started(connection, sweep)
    if state is SweepState.PAUSED:
        _release_trials(database, connection, sweep.id)
        # one that paused before and did not start since has been idle from then on
        values |= {"paused_at": func.coalesce(sweeps.c.paused_at, utc_now()), "pause_requested": False}
    if state is SweepState.QUEUED and sweep.state is not SweepState.PAUSED:  # it was over, or about to be
        idle_from = func.coalesce(sweeps.c.paused_at, sweep.ended_at or utc_now())
        values |= {"paused_at": idle_from, "ended_at": None, "cancel_requested": False, "pause_requested": False}
        if (spec := _without_reached_target(sweep)) is not sweep.spec:
            values["spec"] = spec.model_dump_json()
    if state.finished:
        _finish_trials(database, connection, sweep.id, reason or f"the sweep {state}", failure)
        values["ended_at"] = utc_now()
    connection.execute(update(sweeps).where(sweeps.c.id == sweep.id).values(values))
    changed = get(connection, sweep.id)
    events.add(connection, [events.sweep_state(changed)])
    return changed


def request_cancel(database: Database, connection: Connection, sweep: Sweep) -> Sweep:
    if sweep.state in (SweepState.QUEUED, SweepState.PAUSED):
        when = "before it started" if sweep.started_at is None else "while it was paused"
        return set_state(database, connection, sweep, SweepState.CANCELLED, f"cancelled {when}")
    if sweep.state.finished:
        raise Conflict(
            f"Sweep {sweep.name} has already {ended(sweep.state)}; nothing is left to cancel.", state=sweep.state
        )
    if sweep.cancel_requested:
        return sweep
    connection.execute(update(sweeps).where(sweeps.c.id == sweep.id).values(cancel_requested=True))
    events.add(connection, [events.sweep_state(sweep, cancel_requested=True)])
    return get(connection, sweep.id)


def request_pause(database: Database, connection: Connection, sweep: Sweep) -> Sweep:
    if sweep.state is SweepState.QUEUED:
        return set_state(database, connection, sweep, SweepState.PAUSED, None)
    if sweep.state.finished:
        raise Conflict(f"Sweep {sweep.name} has already {ended(sweep.state)} and can't pause.", state=sweep.state)
    if sweep.cancel_requested:
        raise Conflict(f"Sweep {sweep.name} is being cancelled and can't pause.", state=sweep.state)
    if sweep.state is SweepState.PAUSED or sweep.pause_requested:
        return sweep
    connection.execute(update(sweeps).where(sweeps.c.id == sweep.id).values(pause_requested=True))
    events.add(connection, [events.sweep_state(sweep, pause_requested=True)])
    return get(connection, sweep.id)


def resume(database: Database, connection: Connection, sweep: Sweep) -> Sweep:
    if sweep.state is SweepState.PAUSED:
        return set_state(database, connection, sweep, SweepState.QUEUED, None)
    if sweep.state.finished:
        raise Conflict(
            f"Sweep {sweep.name} has already {ended(sweep.state)}; `toprung extend` lets it go on.", state=sweep.state
        )
    how = "is still pausing; resume it when it is paused" if sweep.pause_requested else f"is {sweep.state}, not paused"
    raise Conflict(f"Sweep {sweep.name} {how}.", state=sweep.state)


def ended(state: SweepState) -> str:
    """As in "has already …"."""
    return "been cancelled" if state is SweepState.CANCELLED else state.value


def _without_reached_target(sweep: Sweep) -> SweepSpec:
    """For a sweep that goes on: a target that it has reached would end it at once."""
    metric = sweep.spec.metric
    if sweep.best is None or not metric.reached(sweep.best.value):
        return sweep.spec
    return sweep.spec.model_copy(update={"metric": metric.model_copy(update={"target": None})})


def _started(connection: Connection, sweep: Sweep) -> dict[str, Any]:
    """It starts, or goes on: the time between doesn't count for its budget."""
    now = utc_now()
    if sweep.started_at is None:
        return {"started_at": now, "paused_at": None}
    paused_at = connection.execute(select(sweeps.c.paused_at).where(sweeps.c.id == sweep.id)).scalar()
    idle_s = 0.0 if paused_at is None else (now - paused_at).total_seconds()
    return {"paused_at": None, "idle_s": sweep.idle_s + idle_s}


def _release_trials(database: Database, connection: Connection, sweep_id: str) -> None:
    """Trials that ran wait for their next attempt."""
    query = select(trials).where(trials.c.sweep_id == sweep_id, trials.c.state == TrialState.RUNNING.value)
    before = [trial_of(row) for row in connection.execute(query.order_by(trials.c.number))]
    waits = {"state": TrialState.PENDING, "reason": "the sweep was paused"}
    _move_trials(database, connection, sweep_id, before, [trial.model_copy(update=waits) for trial in before])


def _move_trials(
    database: Database, connection: Connection, sweep_id: str, before: list[Trial], after: list[Trial]
) -> None:
    save(
        database,
        connection,
        sweep_id,
        {trial.number: standing_of(trial) for trial in before},
        {trial.number: trial for trial in after},
    )
    events.add(connection, [events.trial_state(trial, first=False) for trial in after])


def cancel_trial(database: Database, connection: Connection, sweep_id: str, trial: Trial, reason: str) -> None:
    """Ends a trial that has no worker."""
    _move_trials(database, connection, sweep_id, [trial], [_finished(trial, reason, None)])


def _finish_trials(
    database: Database, connection: Connection, sweep_id: str, reason: str, failure: Failure | None
) -> None:
    """End what the sweep's end leaves behind: nothing runs for ever."""
    query = (
        select(trials).where(trials.c.sweep_id == sweep_id, trials.c.state.in_(_UNFINISHED)).order_by(trials.c.number)
    )
    before = [trial_of(row) for row in connection.execute(query)]
    after = [_finished(trial, reason, failure) for trial in before]
    _move_trials(database, connection, sweep_id, before, after)


def _finished(trial: Trial, reason: str, failure: Failure | None) -> Trial:
    """Only what ran can have failed; a trial that waited is cancelled."""
    failed = failure is not None and trial.state is TrialState.RUNNING
    return trial.model_copy(
        update={
            "state": TrialState.FAILED if failed else TrialState.CANCELLED,
            "reason": failure.message if failed and failure else reason,
            "failure": failure if failed else None,
            "resume_from": None,
            "ended_at": utc_now(),
        }
    )
