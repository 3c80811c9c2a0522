"""What the tests of `toprung.tuning.torch` train, and how memory runs out there.

A fake stands in for a full GPU, which can't be had here: the real exception classes, raised where a batch has more
samples than are said to fit. `tests/integration/test_gpu.py` has the real thing.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

from toprung.tuning.torch import TorchTrainable


def out_of_memory() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 39 MiB free.")


def allocator_fails() -> None:
    torch.empty(10**15)


class FailsBackward(torch.autograd.Function):  # type: ignore[misc]  # PyTorch is not typed here
    """The identity; memory runs out in its backward pass, when other gradients have been made already."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, fits: int) -> Tensor:
        ctx.fits = fits
        return inputs.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        if len(gradients[0]) > ctx.fits:
            out_of_memory()
        return gradients[0], None


class Noisy(Dataset[tuple[Tensor, Tensor]]):  # type: ignore[misc]
    """Twenty-three samples, with noise from each of the generators there are."""

    def __len__(self) -> int:
        return 23

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        noise = random.random() + np.random.rand() + torch.rand(6)
        return torch.linspace(0, index, 6) / 10 + 0.1 * noise, torch.tensor(index % 3)


class Small(TorchTrainable):
    """`fits`: how many samples do."""

    lr_scheduler_every = "step"

    def build(self, config: dict[str, Any]) -> tuple[Any, ...]:
        torch.manual_seed(0)
        for name in ("precision", "accumulate", "clip_norm", "steps_per_result", "compile"):
            if name in config:
                setattr(self, name, config[name])
        model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(config.get("dropout", 0.0)), nn.Linear(8, 3))
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
        return model, optimizer, torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.97)

    def train_data(self, config: dict[str, Any]) -> Any:
        if "batches" in config:
            return iter(config["batches"]) if config.get("once") else config["batches"]
        generator = torch.Generator().manual_seed(3) if config.get("own_generator") else None
        return DataLoader(Noisy(), batch_size=config.get("batch_size", 4), shuffle=True, generator=generator)

    def eval_data(self, config: dict[str, Any]) -> Any:
        samples = [(torch.linspace(0, index, 6), torch.tensor(index % 3)) for index in range(6)]
        return DataLoader(samples, batch_size=2)

    def training_step(self, batch: Any) -> Tensor:
        inputs, labels = batch
        if len(inputs) > self.config.get("fits", len(inputs)):
            self.config.get("fails", out_of_memory)()
        return F.cross_entropy(self.model(inputs), labels)

    def evaluate(self, model: nn.Module, data: Any) -> dict[str, Any]:
        assert not model.training
        assert not torch.is_grad_enabled()
        return {"right": torch.cat([model(inputs).argmax(1) == labels for inputs, labels in data]).double().mean()}
