"""Histograms of a model's weights and gradients, counted where they are.

`SummaryWriter.add_histogram` takes all values to the CPU and counts them with NumPy in 1,549 buckets.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

_BUCKETS = 30
"""As many as TensorBoard shows."""


def add_histograms(writer: SummaryWriter, model: nn.Module, step: int) -> None:
    """One of each parameter, as `weights/…`, and of its gradient where it has one, as `gradients/…`.

    Values that are not finite are left out; the count tells.
    """
    named = [(name, weight.detach(), weight.grad) for name, weight in model.named_parameters()]
    _add(writer, ((f"weights/{name}", weight) for name, weight, _ in named), step)
    _add(writer, ((f"gradients/{name}", grad) for name, _, grad in named if grad is not None), step)


def _add(writer: SummaryWriter, named: Iterable[tuple[str, Tensor]], step: int) -> None:
    tags, values = [], []
    for tag, tensor in named:
        flat = tensor.coalesce().values() if tensor.is_sparse else tensor
        if flat.is_floating_point():
            tags.append(tag)
            values.append(flat.reshape(-1))
    # two looks at the device for all of them, not two for each
    bounds = [_bounds(each) for each in values]
    lows_and_highs = torch.stack(bounds).tolist() if bounds else []
    found, counted = [], []
    for tag, each, (low, high) in zip(tags, values, lows_and_highs, strict=True):
        finite = each if low > -float("inf") and high < float("inf") else each[each.isfinite()]
        if not finite.numel():
            continue
        if not (low > -float("inf") and high < float("inf")):
            low, high = _bounds(finite).tolist()
        left, right = (low, high) if low < high else _around(low)
        exact = finite if finite.dtype in (torch.float32, torch.float64) else finite.float()
        counts = torch.histc(exact, _BUCKETS, left, right).double()
        counted.append(torch.cat([counts, torch.stack([exact.sum(), exact.square().sum()]).double()]))
        found.append((tag, low, high, left, right))
    for (tag, low, high, left, right), row in zip(found, torch.stack(counted).tolist() if counted else [], strict=True):
        counts, total, squares = row[:_BUCKETS], row[-2], row[-1]
        limits = [left + (right - left) * (i + 1) / _BUCKETS for i in range(_BUCKETS)]
        writer.add_histogram_raw(
            tag,
            min=low,
            max=high,
            num=sum(counts),
            sum=total,
            sum_squares=squares,
            bucket_limits=limits,
            bucket_counts=counts,
            global_step=step,
        )


def _bounds(values: Tensor) -> Tensor:
    """(2,): smallest and largest; not finite where one of the values isn't."""
    if not values.numel():
        return torch.full((2,), float("nan"), dtype=torch.float64, device=values.device)
    return torch.stack(torch.aminmax(values)).double()


def _around(value: float) -> tuple[float, float]:
    """Bounds of a histogram of one value, apart in 32 bits too."""
    width = max(abs(value) * 1e-3, 1e-6)
    return value - width, value + width
