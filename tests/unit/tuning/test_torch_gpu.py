"""What only a GPU can show of `toprung.tuning.torch`: memory that really runs out there, and comes back."""

from __future__ import annotations

import logging
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.torch_models import Small
from torch import Tensor, nn
from torch.nn import functional as F

from toprung.tuning.torch import TorchTrainable
from toprung.tuning.torch.growth import WARM_UP, WINDOW
from toprung.tuning.torch.memory import MB, make_free
from toprung.tuning.torch.safe import forget

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")]

WIDTH, SAMPLES = 512, 4096


@pytest.fixture(autouse=True)
def _nothing_of_other_tests() -> None:
    forget()
    random.seed(7), np.random.seed(7), torch.manual_seed(7)


class Wide(TorchTrainable):
    """Keeps some 200 MB for the backward pass of a whole batch."""

    def build(self, config: dict[str, Any]) -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        layers = [layer for _ in range(24) for layer in (nn.Linear(WIDTH, WIDTH), nn.Tanh())]
        model = nn.Sequential(*layers, nn.Linear(WIDTH, 3))
        return model, torch.optim.SGD(model.parameters(), lr=0.05)

    def train_data(self, config: dict[str, Any]) -> list[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed(1)
        return [(torch.randn(SAMPLES, WIDTH, generator=generator), torch.arange(SAMPLES) % 3) for _ in range(3)]

    def training_step(self, batch: Any) -> Tensor:
        inputs, labels = batch
        return F.cross_entropy(self.model(inputs), labels)


def free_but(mb: int) -> Tensor:
    """Takes all of the GPU's memory but so much; whoever holds the result has it."""
    make_free()
    free, _ = torch.cuda.mem_get_info()
    return torch.empty(free - mb * MB, dtype=torch.uint8, device="cuda")


def test_a_batch_too_large_for_the_gpu_is_trained_as_if_it_fitted(caplog: pytest.LogCaptureFixture) -> None:
    plain = Wide({})
    expected = [plain.step()["train_loss"] for _ in range(3)]
    assert plain.state_dict()["part_size"] is None
    plain.cleanup()

    cut = Wide({})
    ballast = free_but(140)
    with caplog.at_level(logging.WARNING, "toprung"):
        losses = [cut.step()["train_loss"] for _ in range(3)]
    del ballast
    assert cut.state_dict()["part_size"] in {SAMPLES // 2**k for k in range(1, 8)}
    assert losses == pytest.approx(expected, abs=1e-5)
    assert "out of memory with 4096 samples at once, when" in caplog.messages[0]
    cut.cleanup()


NEIGHBOUR = """
import sys
import torch
from toprung.tuning.torch.memory import cap

cap(0.25)
total = torch.cuda.get_device_properties(0).total_memory
mine = torch.ones(int(0.15 * total) // 4, device="cuda")  # float32: a part of the share
print("ready", flush=True)
sys.stdin.readline()
if sys.argv[1] == "greedy":
    try:
        more = torch.empty(int(0.2 * total), dtype=torch.uint8, device="cuda")
    except torch.OutOfMemoryError:
        print("out of memory", flush=True)
else:
    more = torch.ones(int(0.05 * total) // 4, device="cuda")
    print("fine" if bool((mine[:1000] == 1).all() and (more[-1000:] == 1).all()) else "spoiled", flush=True)
"""


def test_a_neighbour_that_wants_more_than_its_share_stands_alone() -> None:
    """Two processes with a quarter each: one asks for more and is refused, though the GPU has it; the other goes on."""
    command = [sys.executable, "-c", NEIGHBOUR]
    neighbours = {
        role: subprocess.Popen([*command, role], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for role in ("greedy", "modest")
    }
    try:
        for each in neighbours.values():
            assert each.stdout is not None
            assert each.stdout.readline() == "ready\n"
        said = {role: each.communicate("go\n", timeout=120)[0] for role, each in neighbours.items()}
    finally:
        for each in neighbours.values():
            each.kill()
            each.wait()
    assert said == {"greedy": "out of memory\n", "modest": "fine\n"}


def test_fifty_trials_leave_no_memory_behind() -> None:
    trainable = Wide({})
    trainable.step()
    trainable.cleanup()
    baseline, used = torch.cuda.memory_allocated(), []
    for _ in range(50):
        trainable.setup({})
        trainable.model.register_forward_hook(lambda *_: None)
        trainable.kept = [trainable.model(torch.randn(64, WIDTH, device="cuda"))]  # with its graph
        trainable.step()
        trainable.cleanup()
        used.append((torch.cuda.memory_allocated(), torch.cuda.memory_reserved()))
    assert {allocated for allocated, _ in used} == {baseline}
    assert max(reserved for _, reserved in used[25:]) <= used[25][1]


def test_the_loss_scale_and_the_gpu_s_random_numbers_go_on(tmp_path: Path) -> None:
    config = {"precision": "fp16", "dropout": 0.3}
    unbroken = Small(config)
    for _ in range(2):
        unbroken.step()
    unbroken.save_checkpoint(str(tmp_path))
    expected = unbroken.step()["train_loss"]

    torch.cuda.manual_seed(99)
    resumed = Small(config)
    resumed.load_checkpoint(str(tmp_path))
    scale = torch.load(tmp_path / "state.pt", weights_only=True)["scaler"]["scale"]
    assert resumed.state_dict()["scaler"]["scale"] == scale > 1
    assert resumed.step()["train_loss"] == pytest.approx(expected, abs=1e-6)


class Leaky(Small):
    trace_allocations = True

    def build(self, config: dict[str, Any]) -> tuple[Any, ...]:
        self.kept: list[Tensor] = []
        return super().build(config)

    def training_step(self, batch: Any) -> Tensor:
        self.kept.append(torch.ones(2**18, device=self.device))
        return super().training_step(batch)


def test_a_leak_on_the_gpu_is_told_where(caplog: pytest.LogCaptureFixture) -> None:
    batches = [(torch.ones(2, 6), torch.zeros(2).long())] * (WARM_UP + WINDOW)
    trainable = Leaky({"batches": batches})
    with caplog.at_level(logging.WARNING, "toprung"):
        trainable.step()
    trainable.cleanup()
    (text,) = caplog.messages
    assert f"40 more of [{2**18}] float32 on cuda" in text
    assert "Allocated: 40 MB more by line" in text
    assert "(self.kept.append(torch.ones(2**18, device=self.device)))" in text
