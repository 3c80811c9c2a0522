"""What sweeps have used, and how long their steps took."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, func, insert, literal, select, union_all

from toprung.serve.store.rows import sweep_of
from toprung.serve.store.sweeps import THERE
from toprung.serve.store.tables import COUNTERS, past_usage, results, sweeps, trials
from toprung.tuning.records import Usage

_NEWEST = 50
"""Sweeps that are looked through for one of the same trainable."""


_EACH = select(
    sweeps.c.id.label("sweep_id"),
    sweeps.c.owner,
    sweeps.c.started_at,
    sum((sweeps.c[name] for name in COUNTERS.values()), start=literal(0)).label("trials"),
    sweeps.c.num_results.label("steps"),
    sweeps.c.gpu_hours,
    sweeps.c.cost,
).where(sweeps.c.started_at.is_not(None))
"""What each sweep has used, in the columns of `past_usage`; the deleted ones too, as long as their rows are there."""


def by_owner(connection: Connection, since: datetime | None, until: datetime | None) -> list[Usage]:
    each = union_all(_EACH, select(past_usage)).subquery()
    sums = (func.sum(each.c[name]).label(name) for name in ("trials", "steps", "gpu_hours", "cost"))
    query = select(each.c.owner, func.count().label("sweeps"), *sums).group_by(each.c.owner)
    if since is not None:
        query = query.where(each.c.started_at >= since)
    if until is not None:
        query = query.where(each.c.started_at < until)
    found = [Usage.model_validate(row._mapping) for row in connection.execute(query)]
    return sorted(found, key=lambda usage: (-usage.cost, -usage.gpu_hours, -usage.steps, usage.owner or ""))


def keep(connection: Connection, sweep_id: str) -> None:
    """Before the sweep's row goes: what it has used is still its owner's."""
    names = [column.name for column in past_usage.columns]
    connection.execute(insert(past_usage).from_select(names, _EACH.where(sweeps.c.id == sweep_id)))


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
