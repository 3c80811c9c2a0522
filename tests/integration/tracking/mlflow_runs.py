"""What an MLflow store says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mlflow.tracking import MlflowClient


@dataclass
class Run:
    id: str
    name: str
    status: str
    params: dict[str, str]
    tags: dict[str, str]
    metrics: dict[str, list[tuple[int, float]]]
    """Of each metric the steps and values, in their order."""


def runs_in(uri: str, experiment: str) -> dict[str, Run]:
    """All runs of an experiment, by name; none is there twice."""
    client = MlflowClient(uri)
    found = client.get_experiment_by_name(experiment)
    listed = client.search_runs([found.experiment_id]) if found else []
    runs = {run.info.run_name: _run(client, run) for run in listed}
    assert len(runs) == len(listed)
    return runs


def _run(client: MlflowClient, run: Any) -> Run:
    run_id = run.info.run_id
    metrics = {
        name: sorted((each.step, each.value) for each in client.get_metric_history(run_id, name))
        for name in run.data.metrics
    }
    return Run(run_id, run.info.run_name, run.info.status, run.data.params, run.data.tags, metrics)


NONE = Run("", "", "", {}, {}, {})
"""Where there is no such run yet."""
