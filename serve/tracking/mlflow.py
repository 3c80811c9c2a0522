"""MLflow: a run for the sweep, and one below it for each trial.

They go to the server or database that the spec names, else to that of the service's environment
(MLFLOW_TRACKING_URI), else to an SQLite file in the home. Credentials come from the service's environment alone
(MLFLOW_TRACKING_USERNAME and so on).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from toprung.serve.tracking.sink import folder_name
from toprung.tuning.records import BestTrial, Result, Sweep, SweepState, Trial, TrialState

# read by MLflow when it is imported: nothing is told to its makers; a server that is away is not asked for minutes
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "3")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
try:
    from mlflow.entities import Metric, Param, RunTag
    from mlflow.tracking import MlflowClient
except ImportError as error:
    raise ImportError(f'MLflow is not installed with the service ({error}): pip install "toprung[mlflow]"') from error

_METRICS, _PARAMS = 1_000, 100
"""What MLflow takes in one request."""
_VALUE, _KEY, _TAG = 6_000, 250, 5_000
"""Characters that it keeps of a parameter's value, of a name, of a tag."""
_STEPS = "time_total_s"
"""The metric that is there at each step: it tells which steps a run has."""
_FOREIGN = re.compile(r"[^\w.\- :/]")


class MlflowSink:
    """Writes a sweep's runs while they run."""

    live = True

    def __init__(self, home: Path) -> None:
        self._home = home / "mlflow"
        self._runs: dict[int, str] = {}

    def begin(self, sweep: Sweep) -> None:
        options = sweep.spec.tracking.mlflow
        assert options is not None
        uri = options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        artifacts = None
        if not uri:
            uri, artifacts = f"sqlite:///{_database(self._home)}", (self._home / "artifacts").as_uri()
        self._sweep = sweep
        self._client = MlflowClient(uri)
        found = self._client.get_experiment_by_name(options.experiment)
        self._experiment = (
            found.experiment_id if found else self._client.create_experiment(options.experiment, artifacts)
        )
        self._parent = self._take_up(
            sweep.id, folder_name(sweep), sweep.started_at or sweep.created_at, {"mlflow.note.content": _note(sweep)}
        )
        spec = sweep.spec
        settings = {"metric": spec.metric.name, "goal": spec.metric.goal, "search.algorithm": spec.search.algorithm}
        self._write_params(self._parent, {**settings, "scheduler": spec.scheduler.type, "trainable": spec.trainable})

    def open(self, trial: Trial) -> int:
        name, started_at = f"{self._sweep.name}-{trial.number}", trial.started_at or trial.created_at
        parent = {"mlflow.parentRunId": self._parent}
        run = self._take_up(f"{self._sweep.id}-{trial.number}", name, started_at, parent)
        self._runs[trial.number] = run
        self._write_params(run, dict(_flat(trial.config)))
        return max((metric.step for metric in self._client.get_metric_history(run, _STEPS)), default=0)

    def log(self, trial: Trial, results: Sequence[Result]) -> None:
        metrics = [metric for result in results for metric in _metrics(result)]
        for start in range(0, len(metrics), _METRICS):
            self._client.log_batch(self._runs[trial.number], metrics=metrics[start : start + _METRICS])

    def leave(self, trial: Trial) -> None:
        self._client.update_run(self._runs.pop(trial.number), status="SCHEDULED")

    def finish(self, trial: Trial) -> None:
        run = self._runs.pop(trial.number)
        reason = trial.reason or (trial.failure.message if trial.failure else "")
        if trial.value is not None:
            self._write_best(run, trial)
        self._write_tags(run, {"state": trial.state.value, "reason": reason, "attempt": str(trial.attempt)})
        statuses = {TrialState.FAILED: "FAILED", TrialState.CANCELLED: "KILLED"}
        self._client.set_terminated(run, statuses.get(trial.state, "FINISHED"), _ms(trial.ended_at))

    def end(self, sweep: Sweep, best: BestTrial | None) -> None:
        self._write_tags(self._parent, {"state": sweep.state.value, "reason": sweep.reason or ""})
        if best is not None:
            self._write_best(self._parent, best.trial)
            self._write_tags(self._parent, {"best_trial": str(best.trial.number)})
        statuses = {SweepState.FAILED: "FAILED", SweepState.CANCELLED: "KILLED"}
        self._client.set_terminated(self._parent, statuses.get(sweep.state, "FINISHED"), _ms(sweep.ended_at))

    def close(self) -> None:
        """Nothing: all that was told is written."""

    def _take_up(self, key: str, name: str, started_at: datetime, tags: Mapping[str, str]) -> str:
        """The run with this tag, running; made where there is none."""
        found = self._client.search_runs([self._experiment], f"tags.`toprung.run` = '{key}'", max_results=1)
        if found:
            run_id = str(found[0].info.run_id)
            self._client.update_run(run_id, status="RUNNING")
            return run_id
        tags = {**tags, "toprung.run": key, "toprung.sweep": self._sweep.id}
        created = self._client.create_run(self._experiment, _ms(started_at), tags=tags, run_name=name)
        return str(created.info.run_id)

    def _write_params(self, run: str, params: Mapping[str, Any]) -> None:
        rows = [Param(_name(name), str(value)[:_VALUE]) for name, value in params.items()]
        for start in range(0, len(rows), _PARAMS):
            self._client.log_batch(run, params=rows[start : start + _PARAMS])

    def _write_tags(self, run: str, tags: Mapping[str, str]) -> None:
        rows = [RunTag(f"toprung.{name}", value[:_TAG]) for name, value in tags.items()]
        self._client.log_batch(run, tags=rows)

    def _write_best(self, run: str, trial: Trial) -> None:
        # a metric that is written twice with the same time, step and value is there once
        name = _name(f"best/{self._sweep.spec.metric.name}")
        moment = _ms(trial.ended_at or trial.created_at)
        self._client.log_batch(run, [Metric(name, trial.value, moment, trial.best_step or 0)])


def _database(folder: Path) -> Path:
    """The database of our own. MLflow takes seconds to make one, and can't use one that was left half made."""
    database, draft = folder / "mlflow.db", folder / "mlflow.db.new"
    if not database.exists():
        folder.mkdir(exist_ok=True)
        for part in folder.glob(f"{draft.name}*"):
            part.unlink()
        MlflowClient(f"sqlite:///{draft}")
        draft.rename(database)
    return database


def _metrics(result: Result) -> Iterator[Any]:
    """Numbers alone; the one that counts the steps comes last, so that it stands for all of its step."""
    for name, value in {**result.metrics, _STEPS: result.time_total_s}.items():
        if isinstance(value, bool | int | float):
            yield Metric(_name(name), float(value), _ms(result.reported_at), result.step)


def _flat(config: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}/")
        else:
            yield f"{above}{name}", value


def _name(name: str) -> str:
    """As MLflow takes it."""
    return _FOREIGN.sub("_", name)[:_KEY]


def _note(sweep: Sweep) -> str:
    return f"Toprung's sweep {sweep.name} ({sweep.id}), {sweep.spec.trainable}"


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1000)
