"""What sweeps have used, and how long their steps took."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, select

from toprung.serve.store.rows import sweep_of
from toprung.serve.store.sweeps import THERE
from toprung.serve.store.tables import COUNTERS, results, sweeps, trials
from toprung.tuning.records import Usage

_NEWEST = 50
"""Sweeps that are looked through for one of the same trainable."""


def by_owner(connection: Connection, since: datetime | None, until: datetime | None) -> list[Usage]:
    num_trials = sum((sweeps.c[name] for name in COUNTERS.values()), start=0)
    query = select(
        sweeps.c.owner,
        func.count().label("sweeps"),
        func.sum(num_trials).label("trials"),
        func.sum(sweeps.c.num_results).label("steps"),
        func.sum(sweeps.c.gpu_hours).label("gpu_hours"),
        func.sum(sweeps.c.cost).label("cost"),
    ).where(THERE, sweeps.c.started_at.is_not(None))
    if since is not None:
        query = query.where(sweeps.c.started_at >= since)
    if until is not None:
        query = query.where(sweeps.c.started_at < until)
    rows = connection.execute(query.group_by(sweeps.c.owner))
    found = [Usage.model_validate(row._mapping) for row in rows]
    return sorted(found, key=lambda usage: (-usage.cost, -usage.gpu_hours, -usage.steps, usage.owner or ""))


def step_time(connection: Connection, trainable: str) -> tuple[str, float] | None:
    query = select(sweeps).where(THERE, sweeps.c.num_results > 0).order_by(sweeps.c.id.desc()).limit(_NEWEST)
    alike = (found for row in connection.execute(query) if (found := sweep_of(row)).spec.trainable == trainable)
    sweep = next(alike, None)
    if sweep is None:
        return None
    at_end = (results.c.number == trials.c.number) & (results.c.step == trials.c.step)
    of_sweep = (results.c.sweep_id == sweep.id) & (trials.c.sweep_id == sweep.id)
    sums = select(func.sum(results.c.time_total_s), func.sum(results.c.step)).where(of_sweep, at_end)
    seconds, steps = connection.execute(sums).one()
    return (sweep.name, seconds / steps) if steps else None
