"""From a sweep's rows to its columns, and from what has changed to newer ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from pydantic_core import from_json

from toprung.figures.columns import MOST_COLUMNS, STATES, Column, Columns, Indices, column_of, labels_of


class TrialLists(NamedTuple):
    """Trials by column, in the order of their numbers."""

    number: Sequence[int]
    state: Sequence[str]
    step: Sequence[int]
    value: Sequence[float | None]
    best_step: Sequence[int | None]
    attempt: Sequence[int]
    reason: Sequence[str | None]
    started_s: Sequence[float | None]
    """Seconds since 1970, as `ended_s`."""
    ended_s: Sequence[float | None]
    metrics: Sequence[str]
    """JSON text, as `params`."""
    params: Sequence[str]


def build(trials: TrialLists, metrics: Collection[str] = (), params: Collection[str] = ()) -> Columns:
    """Columns of all of a sweep's trials.

    Args:
        trials: all of them.
        metrics: that have a column in any case, and the first ones: the sweep's objective.
        params: the same of parameters: those of the sweep's spec.
    """
    reported, varied = _parsed(trials.metrics), _parsed(trials.params)
    params_kept, params_left = _names(varied, params, MOST_COLUMNS)
    metrics_kept, metrics_left = _names(reported, metrics, max(MOST_COLUMNS - len(params_kept), len(metrics)))
    return Columns(
        metrics=_by_name(reported, metrics_kept),
        params=_by_name(varied, params_kept),
        standing=_standing(trials),
        left_out=params_left + metrics_left,
    )


def updated(columns: Columns, trials: TrialLists) -> Columns | None:
    """Columns in which these trials are new or stand otherwise; None where only building them anew can tell.

    Args:
        columns: as they were.
        trials: those that changed.
    """
    if not trials.number:
        return columns
    changed = build(trials)
    if changed.left_out or columns.left_out:
        return None
    known = columns.numbers
    new = changed.numbers > (known[-1] if len(known) else -1)
    at = np.searchsorted(known, changed.numbers)
    at[new] = len(known) + np.arange(np.count_nonzero(new))
    if not np.array_equal(known[at[~new]], changed.numbers[~new]):
        return None  # a trial between those that were there
    size = len(known) + int(np.count_nonzero(new))
    merged = Columns(
        metrics=_merged(columns.metrics, changed.metrics, size, at),
        params=_merged(columns.params, changed.params, size, at),
        standing=_merged(columns.standing, changed.standing, size, at),
    )
    return None if len(merged.metrics) + len(merged.params) > MOST_COLUMNS else merged


def _merged(old: Mapping[str, Column], new: Mapping[str, Column], size: int, at: Indices) -> dict[str, Column]:
    merged = {name: column.with_rows(size, at, new.get(name)) for name, column in old.items()}
    for name, column in new.items():
        if name not in old:
            # nothing but nulls before, of whichever kind comes now
            empty = column_of([]) if not hasattr(column, "codes") else labels_of([])
            merged[name] = empty.with_rows(size, at, column)
    return merged


def _parsed(texts: Sequence[str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = from_json("[" + ",".join(texts) + "]")
    return found


def _names(dicts: Sequence[Mapping[str, Any]], first: Collection[str], most: int) -> tuple[list[str], int]:
    """Which keys have a column, in the order in which they came, and how many have none: those that few trials have."""
    names = list(dict.fromkeys(chain(first, chain.from_iterable(dicts))))
    if len(names) <= most:
        return names, 0
    counts = Counter(chain.from_iterable(dicts))
    kept = {*first, *(name for name, _ in counts.most_common(max(most - len(first), 0)))}
    return [name for name in names if name in kept][:most], len(names) - len(kept)


def _by_name(dicts: Sequence[Mapping[str, Any]], names: Sequence[str]) -> dict[str, Column]:
    return {name: column_of([found.get(name) for found in dicts]) for name in names}


def _standing(trials: TrialLists) -> dict[str, Column]:
    return {
        "number": column_of(trials.number),
        "state": labels_of(trials.state, STATES),
        "step": column_of(trials.step),
        "value": column_of(trials.value),
        "best_step": column_of(trials.best_step),
        "attempt": column_of(trials.attempt),
        "reason": labels_of(trials.reason),
        "started": column_of(trials.started_s),
        "ended": column_of(trials.ended_s),
    }
