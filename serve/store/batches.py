"""Writing what a runner sends: one transaction, and a batch that comes twice changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, select, update

from toprung.errors import InternalError
from toprung.serve.store import events
from toprung.serve.store.database import Database
from toprung.serve.store.progress import Standing, save, standing_of, standings
from toprung.serve.store.rows import decision_row, result_row
from toprung.serve.store.sweeps import no_sweep
from toprung.serve.store.tables import DELETED, decisions, environments, results, sweeps, trials
from toprung.serve.store.tables import events as event_table
from toprung.tuning.records import Action, Batch, Decision, Result, SweepState, Trial


def write(database: Database, connection: Connection, batch: Batch) -> None:
    """Write a batch and the events of what it really changed.

    Results and decisions are judged by how their trial stood before the batch: a trial's last results come together
    with the row that finishes it.

    Raises:
        NotFound: there is no such sweep.
        InternalError: a result or decision is of a trial that neither the store nor the batch has.
    """
    query = select(sweeps.c.state, sweeps.c.metric_name).where(sweeps.c.id == batch.sweep_id)
    sweep = connection.execute(query).one_or_none()
    if sweep is None:
        raise no_sweep(batch.sweep_id)
    if sweep.state == DELETED or SweepState(sweep.state).finished:
        return
    before = standings(connection, batch.sweep_id, _numbers(batch))
    _check_trials(batch, before)
    moves = _moves(batch, before)
    _insert_environments(database, connection, batch)
    save(database, connection, batch.sweep_id, before, {trial.number: trial for trial in moves})
    _drop_checkpoints(connection, batch)
    reported = _insert_results(database, connection, batch, before)
    decided = _insert_decisions(database, connection, batch, before)
    changes = _state_changes(moves, before)
    events.add(
        connection,
        [
            *(row for trial, row in changes if not trial.state.finished),
            *_result_events(batch.sweep_id, reported, sweep.metric_name),
            *(_decision_event(batch.sweep_id, decision) for decision in decided),
            *(row for trial, row in changes if trial.state.finished),
        ],
    )
    _insert_notices(database, connection, batch)


def _numbers(batch: Batch) -> set[int]:
    records: list[Trial | Result | Decision] = [*batch.trials, *batch.results, *batch.decisions]
    return {record.number for record in records}


def _check_trials(batch: Batch, before: Mapping[int, Standing]) -> None:
    unknown = _numbers(batch) - before.keys() - {trial.number for trial in batch.trials}
    if unknown:
        raise InternalError(f"Sweep {batch.sweep_id} has results of trial {min(unknown)}, but not the trial itself.")
    assert all(trial.sweep_id == batch.sweep_id for trial in batch.trials)


def _moves(batch: Batch, before: Mapping[int, Standing]) -> list[Trial]:
    """The rows that are news, in their order."""
    now = dict(before)
    moves = []
    for trial in batch.trials:
        standing = now.get(trial.number)
        if standing is None or standing.passed_by(trial):
            now[trial.number] = standing_of(trial)
            moves.append(trial)
    return moves


def _drop_checkpoints(connection: Connection, batch: Batch) -> None:
    if batch.dropped_checkpoints:
        # checkpoint_step stays: a batch that comes again must not bring the checkpoint back
        of_batch = (trials.c.sweep_id == batch.sweep_id) & trials.c.number.in_(batch.dropped_checkpoints)
        connection.execute(update(trials).where(of_batch).values(checkpoint=None))


def _insert_environments(database: Database, connection: Connection, batch: Batch) -> None:
    if batch.environments:
        rows = [
            {"sweep_id": batch.sweep_id, "key": environment.key, "data": environment.model_dump_json()}
            for environment in batch.environments
        ]
        insert = database.insert(environments).on_conflict_do_nothing(index_elements=["sweep_id", "key"])
        connection.execute(insert, rows)


def _state_changes(moves: list[Trial], before: Mapping[int, Standing]) -> list[tuple[Trial, dict[str, Any]]]:
    """An event for each change of state or attempt; steps and values have the events of the results."""
    now = dict(before)
    changes = []
    for trial in moves:
        old = now.get(trial.number)
        if old is None or (old.state, old.attempt) != (trial.state, trial.attempt):
            changes.append((trial, events.trial_state(trial, first=old is None)))
        now[trial.number] = standing_of(trial)
    return changes


def _insert_results(
    database: Database, connection: Connection, batch: Batch, before: Mapping[int, Standing]
) -> list[Result]:
    """Insert the results that are new; returns these."""
    wanted: dict[tuple[int, int], Result] = {}
    for result in batch.results:
        standing = before.get(result.number)
        if standing is None or standing.accepts(result.attempt):
            wanted.setdefault((result.number, result.step), result)
    if not wanted:
        return []
    insert = database.insert(results).on_conflict_do_nothing(index_elements=["sweep_id", "number", "step"])
    rows = [result_row(batch.sweep_id, result) for result in wanted.values()]
    inserted = connection.execute(insert.returning(results.c.number, results.c.step), rows)
    new = {(number, step) for number, step in inserted}
    counted = sweeps.c.num_results + len(new)
    connection.execute(update(sweeps).where(sweeps.c.id == batch.sweep_id).values(num_results=counted))
    return [result for key, result in wanted.items() if key in new]


def _insert_decisions(
    database: Database, connection: Connection, batch: Batch, before: Mapping[int, Standing]
) -> list[Decision]:
    """Insert the decisions that are new; returns these. One may come after the row of the trial that it stopped."""
    wanted: dict[tuple[int, int, Action], Decision] = {}
    for decision in batch.decisions:
        standing = before.get(decision.number)
        if standing is None or decision.attempt >= standing.attempt:
            wanted.setdefault((decision.number, decision.rung, decision.action), decision)
    if not wanted:
        return []
    keyed_by = ["sweep_id", "number", "rung", "action"]
    insert = database.insert(decisions).on_conflict_do_nothing(index_elements=keyed_by)
    rows = [decision_row(batch.sweep_id, decision) for decision in wanted.values()]
    returning = insert.returning(decisions.c.number, decisions.c.rung, decisions.c.action)
    new = {(number, rung, Action(action)) for number, rung, action in connection.execute(returning, rows)}
    return [decision for key, decision in wanted.items() if key in new]


def _insert_notices(database: Database, connection: Connection, batch: Batch) -> None:
    rows = [
        *(events.milestone_row(batch.sweep_id, milestone) for milestone in batch.milestones),
        *(events.warning_row(batch.sweep_id, message) for message in batch.warnings),
    ]
    if rows:
        insert = database.insert(event_table).on_conflict_do_nothing(index_elements=["sweep_id", "fingerprint"])
        connection.execute(insert, rows)


def _result_events(sweep_id: str, new: list[Result], metric_name: str) -> list[dict[str, Any]]:
    """One event a trial, with its last step: a fast trial reports hundreds at once."""
    by_trial: dict[int, list[Result]] = {}
    for result in new:
        by_trial.setdefault(result.number, []).append(result)
    rows = []
    for number, reported in by_trial.items():
        last = max(reported, key=lambda result: result.step)
        data = {
            "number": number,
            "step": last.step,
            "count": len(reported),
            "value": last.metrics.get(metric_name),
            "metrics": last.metrics,
        }
        rows.append(events.event_row(sweep_id, events.TRIAL_RESULTS, data))
    return rows


def _decision_event(sweep_id: str, decision: Decision) -> dict[str, Any]:
    return events.event_row(sweep_id, events.DECISION, decision.model_dump(mode="json"))
