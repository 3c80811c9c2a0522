"""Whole sweeps at once, as plain rows: figures and tables read tens of thousands of trials in a fraction of a second.

A record for each row would take longer than the query. JSON columns come as text; whoever reads parses them in one go.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any, NamedTuple
from typing import cast as cast_to

from pydantic_core import from_json
from sqlalchemy import Column, ColumnElement, Connection, Float, Select, cast, extract, func, select, true

from toprung.figures.building import TrialLists
from toprung.figures.decisions import FIELDS
from toprung.serve.store.database import Database
from toprung.serve.store.tables import decisions, events, results, trials
from toprung.tuning.records import TrialState

_MOST_CHANGES = 20_000
"""Events after which reading the whole sweep again is less work."""
_NUMBERS_AT_ONCE = 500


class Changes(NamedTuple):
    """What has changed since an event."""

    last_event: int
    trials: TrialLists
    whole: bool
    """Whether these are all of the sweep's trials."""


class Bulk:
    """Reads of whole sweeps; whoever calls has made sure that the sweep is there."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def last_event(self, sweep_id: str) -> int:
        """The id of the sweep's newest event, 0 before the first: while it stays the same, nothing has changed."""
        with self._database.read() as connection:
            return _last_event(connection, sweep_id)

    def changes(self, sweep_id: str, after: int | None) -> Changes:
        """The trials that have changed since an event, or all of them (None, or too many events since)."""
        of_sweep = self._select_trials().where(trials.c.sweep_id == sweep_id).order_by(trials.c.number)
        news = select(events.c.id, events.c.data).where(events.c.sweep_id == sweep_id)
        with self._database.read() as connection:
            if after is not None:
                # events first: what is written between the two queries comes again next time
                rows = _plain(connection, news.where(events.c.id > after).limit(_MOST_CHANGES + 1))
                if len(rows) <= _MOST_CHANGES:
                    found: list[tuple[Any, ...]] = []
                    for some in _batches(_numbers(rows)):
                        found += _plain(connection, of_sweep.where(trials.c.number.in_(some)))
                    return Changes(max((row[0] for row in rows), default=after), _by_column(found), False)
            last = _last_event(connection, sweep_id)
            return Changes(last, _by_column(_plain(connection, of_sweep)), True)

    def standings(self, sweep_id: str) -> list[tuple[Any, ...]]:
        """Number and badness of trials that did not fail (the value, its sign turned where more is better)."""
        failed = select(trials.c.number).where(trials.c.sweep_id == sweep_id, trials.c.state == TrialState.FAILED.value)
        query = select(trials.c.number, trials.c.badness).order_by(trials.c.number)  # an index has all of it
        query = query.where(trials.c.sweep_id == sweep_id, trials.c.number.not_in(failed))
        with self._database.read() as connection:
            return _plain(connection, query)

    def decisions_after(self, sweep_id: str, decision_id: int) -> list[tuple[Any, ...]]:
        """The sweep's decisions after this one, each as `figures.decisions.FIELDS` has it, in order."""
        query = select(*(decisions.c[name] for name in FIELDS[:-1]), self._seconds(decisions.c.decided_at))
        query = query.where(decisions.c.sweep_id == sweep_id, decisions.c.id > decision_id).order_by(decisions.c.id)
        with self._database.read() as connection:
            return _plain(connection, query)

    def results(self, sweep_id: str, numbers: Collection[int], every: int = 1) -> Iterator[tuple[Any, ...]]:
        """Number, step and metrics (JSON text) of these trials, by number and step; of each `every`-th step alone."""
        query = select(results.c.number, results.c.step, results.c.metrics).where(results.c.sweep_id == sweep_id)
        query = query.where(results.c.step % every == 0 if every > 1 else true())
        with self._database.read() as connection:
            for some in _batches(numbers):
                of_these = query.where(results.c.number.in_(some)).order_by(results.c.number, results.c.step)
                yield from _plain(connection, of_these)

    def _select_trials(self) -> Select[Any]:
        plain = ("number", "state", "step", "value", "best_step", "attempt", "reason")
        times = (self._seconds(trials.c.started_at), self._seconds(trials.c.ended_at))
        return select(*(trials.c[name] for name in plain), *times, trials.c.metrics, trials.c.params)

    def _seconds(self, at: Column[Any]) -> ColumnElement[float]:
        """Seconds since 1970 by the database: to make datetimes of 50,000 rows takes longer than to read them."""
        if self._database.is_sqlite:
            days: ColumnElement[float] = func.julianday(at, type_=Float(53))
            return (days - 2440587.5) * 86400.0
        return cast(extract("epoch", at), Float(53))


def _last_event(connection: Connection, sweep_id: str) -> int:
    query = select(func.max(events.c.id)).where(events.c.sweep_id == sweep_id)
    return connection.execute(query).scalar() or 0


def _plain(connection: Connection, query: Select[Any]) -> list[tuple[Any, ...]]:
    """The driver's own tuples: for 50,000 trials a third of the time that SQLAlchemy's rows take."""
    result = connection.execute(query)
    assert result.cursor is not None, "a select has one"
    rows = cast_to(list[tuple[Any, ...]], result.cursor.fetchall())
    result.close()
    return rows


def _by_column(rows: Sequence[tuple[Any, ...]]) -> TrialLists:
    return TrialLists(*zip(*rows, strict=True)) if rows else TrialLists(*([] for _ in TrialLists._fields))


def _numbers(rows: Sequence[tuple[Any, ...]]) -> set[int]:
    """The trials that events are about."""
    found = from_json("[" + ",".join(row[1] for row in rows) + "]")
    return {data["number"] for data in found if isinstance(data.get("number"), int)}


def _batches(numbers: Collection[int]) -> Iterator[list[int]]:
    """As many as a query may name, in their order."""
    ordered = sorted(numbers)
    for start in range(0, len(ordered), _NUMBERS_AT_ONCE):
        yield ordered[start : start + _NUMBERS_AT_ONCE]
