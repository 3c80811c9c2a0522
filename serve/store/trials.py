"""Reading trials, their results and the decisions about them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from pydantic_core import from_json
from sqlalchemy import ColumnElement, Connection, case, func, select, tuple_

from toprung.errors import NotFound
from toprung.serve.store.paging import decode_cursor, page_of
from toprung.serve.store.progress import ranked
from toprung.serve.store.rows import decision_of, prior_trial_of, result_of, trial_of
from toprung.serve.store.sweeps import THERE, no_sweep
from toprung.serve.store.tables import decisions, environments, results, sweeps, trials
from toprung.tuning.past import Past, Reported
from toprung.tuning.prior import PriorSweep
from toprung.tuning.records import (
    Action,
    Decision,
    MetricValue,
    Page,
    Result,
    RunEnvironment,
    Rung,
    Sweep,
    Trial,
    TrialEnvironment,
    TrialState,
    Values,
    utc_now,
)

TrialOrder = Literal["number", "value"]
LARGEST = 2**63 - 2
"""The largest number that callers may name: they come from URLs, and databases refuse larger ones (one is added)."""


def find(
    connection: Connection,
    sweep_id: str,
    *,
    state: TrialState | None,
    order_by: TrialOrder,
    cursor: str | None,
    limit: int,
) -> Page[Trial]:
    check_sweep(connection, sweep_id)
    by_value = order_by == "value"
    keys = (trials.c.badness, trials.c.number) if by_value else (trials.c.number,)
    query = select(trials).where(trials.c.sweep_id == sweep_id).order_by(*keys).limit(limit + 1)
    if state is not None:
        query = query.where(trials.c.state == TrialState(state).value)
    order = f"trials/{order_by}"
    if cursor is not None:
        last = decode_cursor(cursor, order, (float, int) if by_value else (int,))
        query = query.where(tuple_(*keys) > last)
    rows = connection.execute(query).all()
    return page_of(rows, limit, order, lambda row: tuple(getattr(row, key.name) for key in keys), trial_of)


def get(connection: Connection, sweep_id: str, number: int) -> Trial:
    query = (
        select(trials).join(sweeps).where(trials.c.sweep_id == sweep_id, trials.c.number == min(number, LARGEST), THERE)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        check_sweep(connection, sweep_id)
        raise NotFound(f"Sweep {sweep_id} has no trial {number}.")
    return trial_of(row)


def environment_of(connection: Connection, sweep_id: str, number: int) -> TrialEnvironment:
    trial = get(connection, sweep_id, number)
    query = select(environments.c.data).where(
        environments.c.sweep_id == sweep_id, environments.c.key == trial.environment
    )
    data = None if trial.environment is None else connection.execute(query).scalar_one_or_none()
    known = None if data is None else RunEnvironment.model_validate_json(data)
    return TrialEnvironment(number=trial.number, attempt=trial.attempt, seed=trial.seed, environment=known)


def best(connection: Connection, sweep_id: str, k: int) -> list[Trial]:
    query = select(trials).where(*ranked(sweep_id)).order_by(trials.c.badness, trials.c.number).limit(k)
    return [trial_of(row) for row in connection.execute(query)]


def metrics_at_best(
    connection: Connection, sweep_id: str, chosen: Sequence[Trial]
) -> dict[int, dict[str, MetricValue]]:
    """By trial number, what was reported at the trial's best step."""
    places = [(trial.number, trial.best_step) for trial in chosen]
    at = tuple_(results.c.number, results.c.step).in_(places)
    rows = connection.execute(select(results).where(results.c.sweep_id == sweep_id, at))
    return {row.number: result_of(row).metrics for row in rows}


def num_ranked(connection: Connection, sweep_id: str) -> int:
    """How many trials `best` chooses among."""
    return connection.execute(select(func.count()).where(*ranked(sweep_id))).scalar_one()


def results_of(connection: Connection, sweep_id: str, number: int, *, after_step: int, limit: int) -> list[Result]:
    get(connection, sweep_id, number)
    query = (
        select(results)
        .where(results.c.sweep_id == sweep_id, results.c.number == number, results.c.step > after_step)
        .order_by(results.c.step)
        .limit(limit)
    )
    return [result_of(row) for row in connection.execute(query)]


def values_after(connection: Connection, sweep: Sweep, result_id: int, limit: int) -> Values:
    columns = (results.c.id, results.c.number, results.c.step, results.c.metrics)
    query = select(*columns).where(results.c.sweep_id == sweep.id, results.c.id > min(result_id, LARGEST))
    rows = connection.execute(query.order_by(results.c.id).limit(limit + 1)).all()
    told = [(row.number, row.step, _objective(row.metrics, sweep)) for row in rows[:limit]]
    items = [(number, step, value) for number, step, value in told if value is not None]
    return Values(items=items, last=rows[:limit][-1].id if rows else result_id, more=len(rows) > limit)


def results_after(connection: Connection, result_id: int, sweep_id: str, limit: int) -> list[tuple[int, Result]]:
    query = (
        select(results)
        .where(results.c.sweep_id == sweep_id, results.c.id > result_id)
        .order_by(results.c.id)
        .limit(limit)
    )
    return [(row.id, result_of(row)) for row in connection.execute(query)]


def decisions_of(
    connection: Connection, sweep_id: str, *, number: int | None, cursor: str | None, limit: int
) -> Page[Decision]:
    check_sweep(connection, sweep_id)
    query = select(decisions).where(decisions.c.sweep_id == sweep_id).order_by(decisions.c.id).limit(limit + 1)
    if number is not None:
        query = query.where(decisions.c.number == number)
    order = "decisions"
    if cursor is not None:
        (last,) = decode_cursor(cursor, order, (int,))
        query = query.where(decisions.c.id > last)
    return page_of(connection.execute(query).all(), limit, order, lambda row: (row.id,), decision_of)


def rungs_of(connection: Connection, sweep_id: str) -> list[Rung]:
    check_sweep(connection, sweep_id)

    def trials_with(*actions: Action) -> ColumnElement[int]:
        chosen = case((decisions.c.action.in_([action.value for action in actions]), decisions.c.number))
        return func.count(chosen.distinct())

    counts = (trials_with(*Action), trials_with(Action.PROMOTE), trials_with(Action.STOP))
    query = select(decisions.c.rung, *counts).where(decisions.c.sweep_id == sweep_id)
    rows = connection.execute(query.group_by(decisions.c.rung).order_by(decisions.c.rung))
    return [Rung(rung=rung, seen=seen, promoted=on, stopped=off) for rung, seen, on, off in rows]


def prior(connection: Connection, sweep: Sweep, steps: Collection[int]) -> PriorSweep:
    values: dict[int, dict[int, float]] = {}
    query = select(results.c.number, results.c.step, results.c.metrics)
    query = query.where(results.c.sweep_id == sweep.id, results.c.step.in_(steps))
    for row in connection.execute(query) if steps else ():
        value = _objective(row.metrics, sweep)
        if value is not None:
            values.setdefault(row.number, {})[row.step] = value
    columns = (
        trials.c[name] for name in ("number", "state", "params", "config", "failure", "step", "value", "best_step")
    )
    rows = connection.execute(select(*columns).where(trials.c.sweep_id == sweep.id).order_by(trials.c.number))
    return PriorSweep(
        name=sweep.name, spec=sweep.spec, trials=[prior_trial_of(row, values.get(row.number, {})) for row in rows]
    )


def past(connection: Connection, sweep: Sweep, steps: Collection[int] | None) -> Past:
    query = select(trials).where(trials.c.sweep_id == sweep.id).order_by(trials.c.number)
    known = [trial_of(row) for row in connection.execute(query)]
    columns = (results.c[name] for name in ("number", "step", "metrics", "reported_at", "time_total_s"))
    of_sweep = select(*columns).where(results.c.sweep_id == sweep.id).order_by(results.c.id)
    if steps is not None:
        # by a join: a long sweep may have more paused trials than a query may have values
        saved = trials.c.ended_at.is_(None) & results.c.step.in_((trials.c.checkpoint_step, trials.c.resume_step))
        of_sweep = of_sweep.join(trials).where(results.c.step.in_(steps) | saved)
    reported = []
    for row in connection.execute(of_sweep):
        value = _objective(row.metrics, sweep)
        reported.append(Reported(row.number, row.step, value, row.reported_at, row.time_total_s))
    query = select(decisions).where(decisions.c.sweep_id == sweep.id).order_by(decisions.c.id)
    decided = [decision_of(row) for row in connection.execute(query)]
    started = sweep.started_at or utc_now()
    elapsed_s = (utc_now() - started).total_seconds() - sweep.idle_s
    return Past(trials=known, reported=reported, decisions=decided, elapsed_s=elapsed_s)


def _objective(metrics: str, sweep: Sweep) -> float | None:
    value = from_json(metrics).get(sweep.spec.metric.name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def check_sweep(connection: Connection, sweep_id: str) -> None:
    if connection.execute(select(sweeps.c.id).where(sweeps.c.id == sweep_id, THERE)).one_or_none() is None:
        raise no_sweep(sweep_id)
