"""A real sweep whose trials pause and are promoted, while the tracker is killed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from tests.integration.conftest import Service, Submit, processes_of, until
from tests.integration.test_recovery import STEPS, kill, num_paused
from tests.integration.tracking import mlflow_runs, wandb_file

from toprung.client import SweepHandle
from toprung.tuning.records import SweepState

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:DeprecationWarning",  # MLflow's own, with SQLAlchemy 2.1
)


@pytest.mark.deep
def test_wandb_and_mlflow_have_each_step_once(service: Service, submit: Submit) -> None:
    tracking = {"tensorboard": False, "wandb": {"project": "demo"}, "mlflow": {"experiment": "killed"}}
    scheduler = {"type": "asha", "max_t": STEPS, "grace_period": 1, "reduction_factor": 3, "mode": "promote"}
    sweep = submit(
        "learns_slowly", budget={"trials": 6}, scheduler=scheduler, concurrency=2, wait=False, tracking=tracking
    )
    uri = f"sqlite:///{service.home}/mlflow/mlflow.db"
    until(lambda: num_paused(sweep) >= 2, timeout_s=120, what="paused trials")
    kill_tracker(service)
    assert sweep.wait(timeout_s=120, progress=False).state is SweepState.SUCCEEDED
    until(lambda: (service.home / "mlflow" / "mlflow.db").exists(), timeout_s=120, what="MLflow's database")
    kill_tracker(service)
    until(lambda: "toprung.state" in logged(uri, sweep).tags, timeout_s=120, what="the sweep's end in MLflow")
    until(lambda: sweep.id in wandb_file.runs_in(service.home), timeout_s=120, what="the sweep's run for W&B")

    assert [e.data for e in sweep.events() if e.type == "warning"] == []
    runs, logged_runs = wandb_file.runs_in(service.home), mlflow_runs.runs_in(uri, "killed")
    assert any(trial.record.attempt > 1 for trial in sweep.trials()), "one at least was promoted"
    for trial in sweep.trials():
        number, steps = trial.record.number, [(r.step, r.metrics["loss"]) for r in trial.results()]
        assert steps
        assert history(runs[f"{sweep.id}-{number}"].history) == steps
        assert logged_runs[f"{sweep.name}-{number}"].metrics["loss"] == steps
        assert runs[f"{sweep.id}-{number}"].summary["state"] == trial.record.state
    best = min(sweep.trials(), key=lambda trial: trial.record.value or 0)
    (artifact,) = runs[sweep.id].artifacts
    assert runs[sweep.id].summary["best_value"] == logged(uri, sweep).metrics["best/loss"][0][1] == best.record.value
    assert [file.path for file in artifact.manifest.contents] == ["state.json"]


def kill_tracker(service: Service) -> None:
    (tracker,) = processes_of(service, "TrackerActor")
    kill(tracker)
    until(
        lambda: [p.pid for p in processes_of(service, "TrackerActor") if p.pid != tracker.pid],
        timeout_s=120,
        what="another tracker",
    )


def logged(uri: str, sweep: SweepHandle) -> Any:
    return mlflow_runs.runs_in(uri, "killed").get(f"{sweep.name}-{sweep.id[-6:]}", mlflow_runs.NONE)


def history(rows: Sequence[dict[str, Any]]) -> list[tuple[int, float]]:
    return [(row["_step"], row["loss"]) for row in rows]
