"""`trace_allocations`: the warning of growing memory names the line that allocates what grows."""

from __future__ import annotations

import inspect
import logging
import sysconfig
from collections.abc import Iterator
from typing import Any

import pytest
import ray
import torch
from tests.torch_models import Small, out_of_memory
from torch import Tensor, nn
from torch.utils._python_dispatch import _get_current_dispatch_mode

from toprung.tuning.torch import MemorySafe
from toprung.tuning.torch.allocations import NO_LINE, CpuAllocations, in_words, line_of
from toprung.tuning.torch.growth import WARM_UP, WINDOW
from toprung.tuning.torch.memory import in_use

CPU = torch.device("cpu")
BATCHES = [torch.ones(2, 4)] * (WARM_UP + WINDOW)
KEPT = 2**18
"""Numbers that are kept of each batch: 1 MB."""


@pytest.fixture(autouse=True)
def no_spare_memory() -> Iterator[None]:
    """What tests before have freed is in use meanwhile: else this process doesn't grow when a trial leaks."""
    grown = 0
    used: list[Tensor] = []
    while grown < 32 and len(used) < 4_000:
        before = in_use(CPU)
        used.append(torch.ones(KEPT))
        grown = grown + 1 if in_use(CPU) - before > 3 * KEPT else 0
    yield
    used.clear()


def line_with(function: Any, text: str) -> str:
    """As the warning names it: where the only line of a function with this text stands."""
    lines, first = inspect.getsourcelines(function)
    ((offset, code),) = [(offset, line.strip()) for offset, line in enumerate(lines) if text in line]
    return f"line {first + offset} of {__file__} ({code})"


class Leaky(Small):
    trace_allocations = True

    def build(self, config: dict[str, Any]) -> tuple[Any, ...]:
        self.kept: list[Tensor] = []
        return super().build(config)

    def training_step(self, batch: Any) -> Tensor:
        torch.ones(2 * KEPT)  # more, but nobody keeps it
        large = torch.ones(KEPT)
        self.kept.append(large)
        return super().training_step(batch)


def test_a_trial_that_leaks_is_told_where(caplog: pytest.LogCaptureFixture) -> None:
    batches = [(torch.ones(2, 6), torch.zeros(2).long())] * len(BATCHES)
    with caplog.at_level(logging.WARNING, "toprung"):
        Leaky({"batches": batches}).step()
    (text,) = caplog.messages
    assert f"more of [{KEPT}] float32 on cpu" in text
    assert f"Allocated: 40 MB more by {line_with(Leaky, 'large = ')}" in text
    assert "2 * KEPT" not in text


def test_a_loop_of_ones_own_that_leaks_is_told_where(caplog: pytest.LogCaptureFixture) -> None:
    model, kept = nn.Linear(4, KEPT // 2), []

    def loop() -> None:
        safe = MemorySafe(model, trace_allocations=True)
        for batch in BATCHES:
            for part in safe(batch):
                with part:
                    kept.append(model(part.batch))

    with caplog.at_level(logging.WARNING, "toprung"), torch.no_grad():
        loop()
    (text,) = caplog.messages
    assert line_with(loop, "kept.append") in text


def test_only_what_is_still_there_counts() -> None:
    allocations = CpuAllocations()
    with allocations:
        kept = [torch.ones(1000) for _ in range(3)]
        views = [kept[0][:10], kept[0].reshape(10, 100)]
        for _ in range(12_000):
            torch.ones(10)
        assert len(allocations._made) < 12_000, "what is gone is forgotten"
    assert sum(allocations.by_line().values()) == 3 * 4000
    kept.pop()
    assert sum(allocations.by_line().values()) == 2 * 4000
    assert views[0].sum() == 10


def test_where_memory_runs_out_nothing_is_left_switched_on() -> None:
    model, sizes = nn.Linear(4, 1), []
    for part in MemorySafe(model, trace_allocations=True)(torch.ones(4, 4)):
        sizes.append(len(part.batch))
        with part:
            if len(part.batch) > 2:
                out_of_memory()
    assert sizes == [4, 2, 2]
    assert _get_current_dispatch_mode() is None


def test_the_line_is_the_user_s() -> None:
    library, of_torch, of_ray = sysconfig.get_paths()["purelib"] + "/timm/layers.py", torch.__file__, ray.__file__
    assert line_of([(of_torch, 1), (library, 2), ("/code/model.py", 3), ("/code/train.py", 4)]) == ("/code/model.py", 3)
    assert line_of([(of_torch, 1), ("<string>", 2), (library, 3), (of_ray, 4)]) == (library, 3)
    assert line_of([(of_torch, 1), (of_ray, 4)]) == NO_LINE
    assert in_words(NO_LINE) == "code that is not known (a backward pass, or another thread)"
    assert in_words(("/no/such/file.py", 3)) == "line 3 of /no/such/file.py"
