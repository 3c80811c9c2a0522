"""The earlier sweeps that a submitted one wants to learn from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from toprung.errors import NotFound, Problem
from toprung.serve.store import Store
from toprung.tuning.records import Sweep
from toprung.tuning.spec.reading import Document


def prior_sweeps(document: Document, store: Store) -> tuple[list[str], list[Problem]]:
    """The ids of the sweeps under `search.prior`, and what is wrong with them.

    It works on the document, so that all problems are told at once; what is not even text, the spec's own checks tell.
    """
    ids: list[str] = []
    problems: list[Problem] = []
    metric = _mapping(document.data, "metric")
    prior = _mapping(document.data, "search").get("prior")
    for index, name in enumerate(prior if isinstance(prior, list) else ()):
        if not isinstance(name, str) or not name:
            continue
        where = f"/search/prior/{index}"
        line, column = document.places.get(where, (None, None))
        try:
            sweep = store.get_sweep(name)
        except NotFound as error:
            problems.append(Problem(where, "unknown_sweep", error.detail, line=line, column=column))
            continue
        ids.append(sweep.id)
        for code, message in _differences(sweep, metric):
            problems.append(Problem(where, code, message, line=line, column=column))
    return ids, problems


def _differences(sweep: Sweep, metric: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    theirs = sweep.spec.metric
    name, goal = metric.get("name"), metric.get("goal")
    if isinstance(name, str) and name != theirs.name:
        yield "other_metric", f"sweep {sweep.name} has the metric {theirs.name}, this one {name}: they don't compare"
    if goal in ("minimize", "maximize") and goal != theirs.goal:
        yield "other_goal", f"sweep {sweep.name} is to {theirs.goal} {theirs.name}, this one to {goal} it"


def _mapping(data: Any, field: str) -> Mapping[str, Any]:
    inner = data.get(field) if isinstance(data, Mapping) else None
    return inner if isinstance(inner, Mapping) else {}
