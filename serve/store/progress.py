"""Trials' rows and what follows from them in their sweep's row, in the same transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, select, update

from toprung.serve.store.database import Database
from toprung.serve.store.rows import trial_row
from toprung.serve.store.tables import COUNTERS, sweeps, trials
from toprung.tuning.records import Trial, TrialState


@dataclass(frozen=True, slots=True)
class Standing:
    """How far a stored trial has come."""

    attempt: int
    state: TrialState
    step: int
    gpu_hours: float
    cost: float
    checkpoint_step: int
    resume_step: int

    def passed_by(self, trial: Trial) -> bool:
        """Whether `trial` is news. What was sent again, or overtaken on its way, is not."""
        return not self.state.finished and _place(standing_of(trial)) > _place(self)

    def accepts(self, attempt: int) -> bool:
        """Whether a result of this attempt is still welcome."""
        return not self.state.finished and attempt >= self.attempt


_PHASES = {TrialState.RUNNING: 0, TrialState.PAUSED: 1, TrialState.PENDING: 2}


def _place(standing: Standing) -> tuple[float, ...]:
    """Places of one trial in the order of time: an attempt runs, may pause, waits for the next one or is finished."""
    phase = 3 if standing.state.finished else _PHASES[standing.state]
    saved = standing.checkpoint_step, standing.resume_step
    return standing.attempt, phase, standing.step, standing.gpu_hours, *saved


def standing_of(trial: Trial) -> Standing:
    saved = [reference.step if reference else 0 for reference in (trial.checkpoint, trial.resume_from)]
    return Standing(trial.attempt, trial.state, trial.step, trial.gpu_hours, trial.cost, *saved)


def standings(connection: Connection, sweep_id: str, numbers: Iterable[int]) -> dict[int, Standing]:
    """Those of the trials that are stored."""
    names = ("number", "attempt", "state", "step", "gpu_hours", "cost", "checkpoint_step", "resume_step")
    query = select(*(trials.c[name] for name in names))
    query = query.where(trials.c.sweep_id == sweep_id, trials.c.number.in_(set(numbers)))
    return {
        row.number: Standing(
            row.attempt,
            TrialState(row.state),
            row.step,
            row.gpu_hours,
            row.cost,
            row.checkpoint_step or 0,
            row.resume_step or 0,
        )
        for row in connection.execute(query)
    }


def save(
    database: Database,
    connection: Connection,
    sweep_id: str,
    before: Mapping[int, Standing],
    changed: Mapping[int, Trial],
) -> None:
    """Write trials and bring their sweep's counters and best value up to date.

    Args:
        database: for its dialect.
        connection: a writing transaction.
        sweep_id: the sweep of all of them.
        before: how those of them that are stored stood.
        changed: their new rows, by number.
    """
    if not changed:
        return
    goal = connection.execute(select(sweeps.c.goal).where(sweeps.c.id == sweep_id)).scalar_one()
    insert = database.insert(trials)
    kept = {"sweep_id", "number", "created_at", "stop_requested"}
    replaced = {column.name: column for column in insert.excluded if column.name not in kept}
    upsert = insert.on_conflict_do_update(index_elements=["sweep_id", "number"], set_=replaced)
    connection.execute(upsert, [trial_row(trial, goal) for trial in changed.values()])
    connection.execute(
        update(sweeps)
        .where(sweeps.c.id == sweep_id)
        .values({**_counters(before, changed), **_best(connection, sweep_id)})
    )


def ranked(sweep_id: str) -> tuple[ColumnElement[bool], ...]:
    """Conditions of the trials among which the best are chosen."""
    return trials.c.sweep_id == sweep_id, trials.c.state != TrialState.FAILED.value, trials.c.value.is_not(None)


def _counters(before: Mapping[int, Standing], changed: Mapping[int, Trial]) -> dict[str, Any]:
    counts: Counter[TrialState] = Counter(trial.state for trial in changed.values())
    counts.subtract(before[number].state for number in changed if number in before)
    hours = sum(trial.gpu_hours - (old.gpu_hours if (old := before.get(n)) else 0.0) for n, trial in changed.items())
    cost = sum(trial.cost - (old.cost if (old := before.get(n)) else 0.0) for n, trial in changed.items())
    values = {COUNTERS[state]: sweeps.c[COUNTERS[state]] + count for state, count in counts.items() if count}
    return {**values, "gpu_hours": sweeps.c.gpu_hours + hours, "cost": sweeps.c.cost + cost}


def _best(connection: Connection, sweep_id: str) -> dict[str, Any]:
    """Columns of the best trial; asked anew each time, as the best one so far may just have failed."""
    row = connection.execute(
        select(trials.c.number, trials.c.step, trials.c.best_step, trials.c.value)
        .where(*ranked(sweep_id))
        .order_by(trials.c.badness, trials.c.number)
        .limit(1)
    ).one_or_none()
    if row is None:
        return {"best_number": None, "best_step": None, "best_value": None}
    step = row.step if row.best_step is None else row.best_step
    return {"best_number": row.number, "best_step": step, "best_value": row.value}
