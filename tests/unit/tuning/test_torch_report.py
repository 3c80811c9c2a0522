"""What a function trainable reports: numbers, whatever they come as."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from toprung.tuning.torch import report
from toprung.tuning.torch.report import numbers


def test_one_element_is_a_number() -> None:
    loss = (torch.ones(3, requires_grad=True) * 2).sum()
    told = numbers({"loss": loss, "rate": np.float32(0.5), "in": {"one": torch.tensor([[3]])}, "word": "x", "n": None})
    assert told == {"loss": 6.0, "rate": 0.5, "in": {"one": 3}, "word": "x", "n": None}
    assert type(told["loss"]) is float


@pytest.mark.parametrize("value", [torch.ones(2), np.ones((2, 1)), torch.ones(0)], ids=["tensor", "array", "empty"])
def test_more_is_refused_by_its_name(value: Any) -> None:
    with pytest.raises(ValueError, match=r"the metric 'val/loss' is a .* of shape \[.*\], .*report val/loss.mean\(\)"):
        numbers({"val": {"loss": value}})


def test_memory_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[Any] = []
    monkeypatch.setattr("ray.tune.report", lambda metrics, checkpoint: said.append((metrics, checkpoint)))
    report({"loss": torch.tensor(1.5)})
    ((metrics, checkpoint),) = said
    assert (metrics["loss"], checkpoint) == (1.5, None)
    assert metrics["memory"]["rss_mb"] > 10
