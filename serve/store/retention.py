"""Deleting sweeps, and what a clean-up needs to know of them.

A deleted sweep is hidden in one transaction, by a state that no record has: from then on nobody finds it. Its rows go
in batches afterwards, each a short transaction of its own, because a sweep may have a million results and the writer
lock is everybody's. The sweep's own row goes last: whoever is killed in between, the next one sees what is left to do.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from pydantic_core import from_json
from sqlalchemy import Connection, Row, Table, delete, select, tuple_, update

from toprung.errors import Conflict
from toprung.serve.store import events, usage
from toprung.serve.store.database import Database
from toprung.serve.store.rows import checkpoint_of
from toprung.serve.store.sweeps import get, in_states
from toprung.serve.store.tables import (
    DELETED,
    cursors,
    decisions,
    environments,
    results,
    sweeps,
    trial_requests,
    trials,
)
from toprung.serve.store.tables import events as event_table
from toprung.tuning.records import CheckpointRef, SweepState

_UNFINISHED = [state for state in SweepState if not state.finished]
_CHILDREN = (results, decisions, event_table, trial_requests, environments, trials)
"""Tables with rows of a sweep; those that refer to trials come before them."""
_BRIEF = [sweeps.c[name] for name in ("id", "name", "state", "ended_at", "spec")]


class KnownSweep(NamedTuple):
    """What a clean-up needs to know of a sweep."""

    id: str
    name: str
    state: SweepState | None
    """None: it is deleted, and not all of it is gone yet."""
    ended_at: datetime | None
    package: str | None
    """SHA-256 of its code, if it has any."""


class Retention:
    """The part of a store that is there for cleaning up. Errors are those of `Store`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known_sweeps(self) -> list[KnownSweep]:
        """All sweeps, the deleted ones too as long as anything of them is left."""
        with self._database.read() as connection:
            return [_known(row) for row in connection.execute(select(*_BRIEF).order_by(sweeps.c.id))]

    def deleted_sweeps(self) -> list[KnownSweep]:
        """Those of which something is left to remove."""
        with self._database.read() as connection:
            rows = connection.execute(select(*_BRIEF).where(sweeps.c.state == DELETED).order_by(sweeps.c.id))
            return [_known(row) for row in rows]

    def remove_rows(self, sweep_id: str, limit: int) -> bool:
        """Remove up to `limit` rows of a deleted sweep. Returns whether it is gone, its own row too.

        A sweep that is not deleted stays as it is, and counts as gone.
        """
        with self._database.write() as connection:
            deleted = select(sweeps.c.id).where(sweeps.c.id == sweep_id, sweeps.c.state == DELETED)
            if connection.execute(deleted).one_or_none() is None:
                return True
            if any(_remove_some(connection, table, sweep_id, limit) for table in _CHILDREN):
                return False
            name = f"tracker/{sweep_id}"
            of_sweep = (cursors.c.name == name) | cursors.c.name.startswith(f"{name}/", autoescape=True)
            connection.execute(delete(cursors).where(of_sweep))
            usage.keep(connection, sweep_id)
            connection.execute(delete(sweeps).where(sweeps.c.id == sweep_id))
            return True

    def named_checkpoints(self, sweep_id: str) -> list[CheckpointRef]:
        """The checkpoints that a sweep's trials name."""
        columns = (trials.c.checkpoint, trials.c.resume_from)
        named = columns[0].is_not(None) | columns[1].is_not(None)
        with self._database.read() as connection:
            rows = connection.execute(select(*columns).where(trials.c.sweep_id == sweep_id, named)).all()
        references = [checkpoint_of(text) for row in rows for text in row]
        return [reference for reference in references if reference is not None]

    def forget_checkpoints(self, sweep_id: str) -> None:
        """The trials of a finished sweep name no checkpoint any more: none is promised that is about to be removed.

        Raises:
            NotFound: there is no such sweep.
            Conflict: it is not finished: trials that go on need theirs.
        """
        with self._database.write() as connection:
            sweep = get(connection, sweep_id)
            if not sweep.state.finished:
                raise Conflict(f"Sweep {sweep.name} is {sweep.state}; its trials need their checkpoints.")
            of_sweep = (trials.c.sweep_id == sweep.id) & trials.c.checkpoint.is_not(None)
            connection.execute(update(trials).where(of_sweep).values(checkpoint=None))


def hide(database: Database, connection: Connection, id_or_name: str) -> None:
    sweep = get(connection, id_or_name)
    if not sweep.state.finished:
        raise Conflict(
            f"Sweep {sweep.name} is {sweep.state}, and only a finished one can be deleted. "
            f"Cancel it first: toprung cancel {sweep.name}",
            state=sweep.state,
        )
    for other in in_states(connection, _UNFINISHED):
        if sweep.id in other.spec.search.prior:  # read each time that a runner takes the other one up
            raise Conflict(
                f"Sweep {other.name} ({other.id}), which is {other.state}, learns from {sweep.name} (search.prior). "
                f"Delete {sweep.name} when that one has ended.",
                state=sweep.state,
            )
    events.keep_last_id(database, connection)
    # without its idempotency key: the same submission again means a new sweep
    connection.execute(update(sweeps).where(sweeps.c.id == sweep.id).values(state=DELETED, idempotency_key=None))


def _known(row: Row[Any]) -> KnownSweep:
    code = from_json(row.spec)["code"]
    return KnownSweep(
        row.id,
        row.name,
        None if row.state == DELETED else SweepState(row.state),
        row.ended_at,
        None if code is None else code.removeprefix("sha256:"),
    )


def _remove_some(connection: Connection, table: Table, sweep_id: str, limit: int) -> int:
    """By the keys of the first rows: not every SQLite knows a limit here, and PostgreSQL does not."""
    keys = list(table.primary_key.columns)
    first = select(*keys).where(table.c.sweep_id == sweep_id).order_by(*keys).limit(limit)
    return connection.execute(delete(table).where(tuple_(*keys).in_(first))).rowcount
