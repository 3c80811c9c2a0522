"""Columns of rows that are written down in a test."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from toprung.figures.building import TrialLists, build
from toprung.figures.columns import Columns


def lists_of(
    params: Sequence[Mapping[str, Any]],
    metrics: Sequence[Mapping[str, Any]] = (),
    numbers: Sequence[int] = (),
    **standing: Sequence[Any],
) -> TrialLists:
    """Completed trials of these parameters; what is None is not there."""
    count = len(params)
    usual: dict[str, Sequence[Any]] = {
        "number": numbers or range(count),
        "state": ["completed"] * count,
        "step": [1] * count,
        "value": [None] * count,
        "best_step": [1] * count,
        "attempt": [1] * count,
        "reason": [None] * count,
        "started_s": [0.0] * count,
        "ended_s": [2.5] * count,
    }
    return TrialLists(
        **{**usual, **standing},
        metrics=[json.dumps(row) for row in metrics or [{}] * count],
        params=[json.dumps({name: value for name, value in row.items() if value is not None}) for row in params],
    )


def columns_of(params: Sequence[Mapping[str, Any]], metrics: Sequence[Mapping[str, Any]] = (), **more: Any) -> Columns:
    return build(lists_of(params, metrics, **more), params=list(dict.fromkeys(name for row in params for name in row)))
