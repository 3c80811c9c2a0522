"""Reporting from a function trainable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray import tune

from toprung.tuning.torch.memory import figures


def report(metrics: Mapping[str, Any], *, checkpoint: tune.Checkpoint | None = None) -> None:
    """`ray.tune.report` with the memory in use, and with numbers in the place of tensors.

    Args:
        metrics: numbers, strings, one-element tensors and arrays, mappings of these. A tensor is turned into a number
            and let go: its graph would hold all that its backward pass needs.
        checkpoint: as in `ray.tune.report`.

    Raises:
        ValueError: a metric is a tensor or an array with more than one element.
    """
    tune.report({**numbers(metrics), "memory": figures()}, checkpoint=checkpoint)


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
