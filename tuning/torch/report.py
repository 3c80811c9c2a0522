"""Reporting from a function trainable."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ray import tune

from toprung.tuning.torch.memory import figures

_to_train: Callable[..., None] | None = None
"""How this process reports where it is a worker of a trial."""


def report_to_train(report: Callable[..., None]) -> None:
    """From now on reports of this process go to `ray.train.report`."""
    global _to_train
    _to_train = report


def report(metrics: Mapping[str, Any], *, checkpoint: tune.Checkpoint | None = None) -> None:
    """`ray.tune.report` with the memory in use, and with numbers in the place of tensors.

    In the workers of `distribute` it is `ray.train.report`: all of them call it, and the first one's metrics count.

    Args:
        metrics: numbers, strings, one-element tensors and arrays, mappings of these. A tensor is turned into a number
            and let go: its graph would hold all that its backward pass needs.
        checkpoint: as in `ray.tune.report`.

    Raises:
        ValueError: a metric is a tensor or an array with more than one element.
    """
    (_to_train or tune.report)({**numbers(metrics), "memory": figures()}, checkpoint=checkpoint)


def numbers(metrics: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The metrics with numbers in the place of one-element tensors and arrays.

    Raises:
        ValueError: one has more elements.
    """
    return {name: _number(value, f"{prefix}{name}") for name, value in metrics.items()}


def _number(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return numbers(value, f"{name}/")
    if not (hasattr(value, "item") and hasattr(value, "shape")):
        return value
    shape = tuple(value.shape)
    if len(shape) and any(length != 1 for length in shape):
        raise ValueError(
            f"the metric {name!r} is a {type(value).__name__} of shape {list(shape)}, and only one number can be "
            f"reported as one metric: report {name}.mean(), say, or each element under a name of its own"
        )
    return value.item()
