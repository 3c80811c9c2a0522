"""Memory that grows is named with its likely cause, once; what only warms up or wobbles is not."""

from __future__ import annotations

import mmap
import random
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from toprung.tuning.torch.growth import WARM_UP, WINDOW, GrowthWatch, Kind, census, slope_of
from toprung.tuning.torch.memory import in_use

MB = 2**20
BASE = 500 * MB


def told(samples: Iterator[float], steps: int) -> list[str]:
    watch = GrowthWatch()
    return [text for _ in range(steps) if (text := watch.add(int(next(samples)))) is not None]


def test_a_leak_is_told_once() -> None:
    (text,) = told((BASE + step * MB for step in count()), 500)
    assert text.startswith("memory in use grows by 1 MB a batch")


@pytest.mark.parametrize(
    "grown_mb",
    [
        lambda step, rng: 0,
        lambda step, rng: min(step, WARM_UP) * 50,
        lambda step, rng: rng.uniform(-100, 100),
        lambda step, rng: 300 * (step > 70),
        lambda step, rng: 100 * (step % 7),
        lambda step, rng: -step,
        lambda step, rng: 0.1 * step + rng.uniform(-0.01, 0.01),
    ],
    ids=["flat", "warm-up", "noise", "one step up", "teeth", "falling", "too little to matter"],
)
def test_what_is_no_leak(grown_mb: Callable[[int, random.Random], float]) -> None:
    rng = random.Random(0)
    assert told((BASE + grown_mb(step, rng) * MB for step in count()), 500) == []


@given(
    slope=st.floats(0.5, 100.0),
    wild=st.lists(st.tuples(st.integers(0, WINDOW - 1), st.floats(0, 1e6)), max_size=1),
)
def test_a_wild_sample_does_not_hide_a_slope(slope: float, wild: list[tuple[int, float]]) -> None:
    samples = [1000 + slope * index for index in range(WINDOW)]
    for index, value in wild:
        samples[index] = value
    assert slope_of(samples) == pytest.approx(slope)


def leaks(keep: Callable[[Tensor], Any], shape: tuple[int, ...]) -> str:
    """What is told of a training that keeps something of each of its losses."""
    model, kept, watch = nn.Linear(4, shape[0] if shape else 1), [], GrowthWatch()
    for step in range(WARM_UP + WINDOW):
        out = model(torch.ones(1, 4))[0]
        kept.append(keep(out if shape else out.sum()))
        if text := watch.add(BASE + step * MB):
            return text
    raise AssertionError("nothing was told")


@pytest.mark.parametrize(
    ("keep", "shape", "kind", "cause"),
    [
        (lambda loss: loss, (), "40 more of [] float32 on cpu, each with its graph", "keep loss.item()"),
        (
            lambda out: out,
            (7,),
            "40 more of [7] float32 on cpu, each with its graph",
            "keep them as tensor.detach().cpu()",
        ),
        (lambda out: out.detach().clone(), (9,), "40 more of [9] float32 on cpu (", "keep numbers, or let go of them"),
        (lambda out: [0] * 10, (), "no kind of tensor becomes more", "look for arrays or other objects"),
    ],
    ids=["losses", "outputs", "copies", "no tensors"],
)
def test_the_cause_is_named(keep: Callable[[Tensor], Any], shape: tuple[int, ...], kind: str, cause: str) -> None:
    text = leaks(keep, shape)
    assert kind in text
    assert cause in text


@pytest.mark.filterwarnings("ignore:The PyTorch API of nested tensors:UserWarning")
def test_tensors_without_a_shape_are_left_out() -> None:
    nested, lazy = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)]), nn.LazyLinear(3)
    kept = torch.ones(5, 7, 3)
    assert census()[Kind((5, 7, 3), torch.float32, "cpu", has_graph=False)] == (1, kept.numel() * 4)
    assert nested.numel() == 5
    assert isinstance(lazy.weight, nn.UninitializedParameter)


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="this system does not say what is a file's")
def test_a_file_that_is_mapped_is_no_memory_in_use(tmp_path: Path) -> None:
    """The kernel drops such pages and reads them again as it pleases, which would hide what grows."""
    file = tmp_path / "library.so"
    file.write_bytes(bytes(64 * MB))
    before = in_use(torch.device("cpu"))
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        assert sum(mapped[at] for at in range(0, len(mapped), mmap.PAGESIZE)) == 0
        assert abs(in_use(torch.device("cpu")) - before) < 16 * MB
    kept = torch.ones(64 * MB // 4)
    assert in_use(torch.device("cpu")) - before > 48 * MB
    del kept
