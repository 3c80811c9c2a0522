"""From what a trial reports to the metrics that are kept."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterator, Mapping
from typing import Any

from ray.tune.result import AUTO_RESULT_KEYS, DEBUG_METRICS

from toprung.tuning.records import Failure, FailureKind, MetricValue
from toprung.tuning.spec import Metric

_NOT_METRICS = frozenset({*AUTO_RESULT_KEYS, *DEBUG_METRICS, "config", "done", "trial_id", "should_checkpoint"})


def metrics_of(result: Mapping[str, Any]) -> dict[str, MetricValue]:
    """The user's metrics of a Tune result: nested names joined by "/", one-element tensors and arrays as numbers.

    What is neither a number, a string, a bool nor None is left out; NaN and infinities become None.
    """
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in _flat(result)
        if isinstance(value, bool | int | float | str | None)
    }


def scalar(value: Any) -> Any:
    """A one-element tensor or array as a Python number; anything else as it is."""
    if isinstance(value, bool | int | float | str | None):
        return value
    item = getattr(value, "item", None)
    if item is None:
        return value
    try:
        return item()
    except (TypeError, ValueError, RuntimeError):  # more than one element
        return value


def objective_failure(metric: Metric, step: int, result: Mapping[str, Any]) -> Failure | None:
    """Why a result can't be compared with others; None where its objective is a finite number."""
    reported = dict(_flat(result))
    if metric.name not in reported:
        close = difflib.get_close_matches(metric.name, reported, n=1)
        hint = f"; did you mean metric name {close[0]!r}?" if close else ""
        names = ", ".join(sorted(reported)) or "nothing else"
        return Failure(
            kind=FailureKind.USER_ERROR,
            message=f"the report of step {step} has no {metric.name!r}, the sweep's objective; it has {names}{hint}",
        )
    value = reported[metric.name]
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Failure(
            kind=FailureKind.USER_ERROR,
            message=f"{metric.name!r} of step {step} is a {type(value).__name__}, not a number: {value!r:.100}",
        )
    if not math.isfinite(value):
        return Failure(kind=FailureKind.NON_FINITE_METRIC, message=f"{metric.name} was {value} at step {step}")
    return None


def _flat(result: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in result.items():
        # Tune hands some results over flat already: config/lr
        if not prefix and (key.partition("/")[0] in _NOT_METRICS or key.startswith("__")):
            continue
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", scalar(value)
