"""A store of each earlier version, with sweeps in it, is brought to this one and loses nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import MetaData, insert

from tests.integration.store.conftest import NewUrl
from tests.integration.store.records import make_spec
from toprung.serve.store import Store
from toprung.serve.store.database import Database
from toprung.serve.store.ids import new_sweep_id
from toprung.tuning.records import SweepState, TrialState

NOW = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def store_of_revision(url: str, revision: str) -> str:
    """A database as that version left it, with a row in each table. Returns the sweep's id."""
    database, sweep_id = Database(url), new_sweep_id(None)
    database.use_wal()
    rows: dict[str, dict[str, Any]] = {
        "sweeps": {
            "id": sweep_id,
            "name": "digits",
            "state": "succeeded",
            "spec": make_spec().model_dump_json(),
            "metric_name": "val_loss",
            "goal": "minimize",
            "priority": 0,
            "created_at": NOW,
            "started_at": NOW,
            "ended_at": NOW,
            "num_trials": 50,
            "num_results": 1,
            "num_completed": 1,
        },
        "trials": {
            "sweep_id": sweep_id,
            "number": 0,
            "state": "completed",
            "params": '{"lr":0.01}',
            "config": '{"lr":0.01}',
            "attempt": 1,
            "bracket": 0,
            "step": 1,
            "value": 0.5,
            "badness": 0.5,
            "metrics": "{}",
            "created_at": NOW,
            "gpu_hours": 0.25,
        },
        "results": {
            "sweep_id": sweep_id,
            "number": 0,
            "step": 1,
            "attempt": 1,
            "reported_at": NOW,
            "time_total_s": 1.0,
            "metrics": '{"val_loss":0.5}',
        },
        "decisions": {
            "sweep_id": sweep_id,
            "number": 0,
            "rung": 1,
            "attempt": 1,
            "bracket": 0,
            "action": "stop",
            "value": 0.5,
            "cutoff": 0.4,
            "rank": 2,
            "seen": 2,
            "places": 1,
            "decided_at": NOW,
        },
        "events": {"sweep_id": sweep_id, "type": "warning", "at": NOW, "data": "{}"},
    }
    config = Config()
    config.set_main_option("script_location", "toprung.serve.store:migrations")
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        tables = MetaData()
        tables.reflect(connection)
        for name, row in rows.items():
            connection.execute(insert(tables.tables[name]).values(row))
    database.close()
    return sweep_id


@pytest.mark.parametrize("revision", ["0001", "0002", "0003", "0004", "0006"])
def test_nothing_is_lost(new_url: NewUrl, revision: str) -> None:
    url = new_url()
    sweep_id = store_of_revision(url, revision)
    store = Store(url)
    sweep, trial = store.get_sweep("digits"), store.get_trial(sweep_id, 0)
    assert (sweep.id, sweep.state, sweep.revision, sweep.num_results) == (sweep_id, SweepState.SUCCEEDED, 1, 1)
    assert (trial.state, trial.value, trial.num_failures, trial.stop_requested) == (TrialState.COMPLETED, 0.5, 0, False)
    assert trial.ladder_step == 0
    assert [result.metrics for result in store.list_results(sweep_id, 0)] == [{"val_loss": 0.5}]
    assert len(store.list_decisions(sweep_id).items) == len(store.events_after(0)) == 1
    assert store.edits.extend(sweep_id, {"trials": 60}).state is SweepState.QUEUED
    store.close()
