"""Trials of `toprung.tuning.torch`. Memory is said to be full: a GPU that is can't be had here."""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import Tensor, nn

from toprung.tuning.torch import TorchTrainable, memory_safe, report


def full() -> None:
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 39 MiB free.")


class Tight(TorchTrainable):
    """Not more than `config["fits"]` samples at once."""

    def build(self, config: dict[str, Any]) -> tuple[nn.Module, torch.optim.Optimizer]:
        model = nn.Linear(4, 1)
        return model, torch.optim.SGD(model.parameters(), lr=0.1)

    def train_data(self, config: dict[str, Any]) -> list[Tensor]:
        return list(torch.rand(3, 16, 4))

    def training_step(self, batch: Tensor) -> Tensor:
        if len(batch) > self.config["fits"]:
            full()
        return (self.model(batch) - batch.sum(1, keepdim=True)).square().mean()


def own_loop(config: dict[str, Any]) -> None:
    """A function trainable with the same protection."""
    model, data = nn.Linear(4, 1), torch.rand(3, 16, 4)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(batch: Tensor) -> Tensor:
        if len(batch) > config["fits"]:
            full()
        return (model(batch) - batch.sum(1, keepdim=True)).square().mean()

    for _ in range(3):
        for batch in data:
            optimizer.zero_grad()
            loss = memory_safe(step, batch, model)
            optimizer.step()
        report({"train_loss": loss})


class Dying(Tight):
    """Its process ends in the second step, if `config["dies"]`."""

    def step(self) -> dict[str, Any]:
        if self.config["dies"] and self.iteration:
            os._exit(1)
        return super().step()
