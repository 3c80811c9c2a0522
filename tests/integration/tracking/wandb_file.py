"""What a W&B run file says."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from toprung.serve.tracking.run_file import records


@dataclass
class Run:
    id: str = ""
    name: str = ""
    project: str = ""
    entity: str = ""
    group: str = ""
    job_type: str = ""
    notes: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Of each name or pattern the metric on its x axis, and what the summary has of it."""
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    artifacts: list[Any] = field(default_factory=list)
    exit_code: int | None = None


def read_run(path: Path) -> Run:
    run = Run()
    for record in records(path):
        match record.WhichOneof("record_type"):
            case "run":
                told = record.run
                run.id, run.name, run.project, run.entity = told.run_id, told.display_name, told.project, told.entity
                run.group, run.job_type, run.notes = told.run_group, told.job_type, told.notes
                run.tags = list(told.tags)
                run.config |= {item.key: json.loads(item.value_json) for item in told.config.update}
            case "metric":
                told = record.metric
                kinds = [kind for kind in ("min", "max", "last") if getattr(told.summary, kind)]
                run.metrics[told.name or told.glob_name] = (told.step_metric, ",".join(kinds))
            case "history":
                run.history.append(_values(record.history.item))
            case "summary":
                run.summary |= _values(record.summary.update)
            case "artifact":
                run.artifacts.append(record.artifact)
            case "exit":
                run.exit_code = record.exit.exit_code
    return run


def runs_in(home: Path) -> dict[str, Run]:
    """All offline runs of a home, by id; none is there twice."""
    files = list((home / "wandb" / "wandb").glob("offline-run-*/*.wandb"))
    found = {run.id: run for run in map(read_run, files)}
    assert len(found) == len(files)
    return found


def _values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}
