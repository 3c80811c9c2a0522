"""Trials that write for TensorBoard: histograms, images, text, scalars in steps of their own."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor, nn

from toprung.tuning.torch import TorchTrainable, report, summary_writer


class Pictured(TorchTrainable):
    """Writes once for each of its results, and once at its beginning."""

    histograms_every = 1

    def build(self, config: dict[str, Any]) -> tuple[nn.Module, torch.optim.Optimizer]:
        model = nn.Linear(4, 1)
        self.writer.add_text("model", f"`{model}`")
        return model, torch.optim.SGD(model.parameters(), lr=config["lr"])

    def train_data(self, config: dict[str, Any]) -> list[Tensor]:
        return list(torch.rand(4, 16, 4))

    def training_step(self, batch: Tensor) -> Tensor:
        time.sleep(self.config["pause_s"] / 4)
        return (self.model(batch) - batch.sum(1, keepdim=True)).square().mean()

    def evaluate(self, model: nn.Module, data: Any) -> dict[str, Any]:
        step = self.iteration + 1
        self.writer.add_image("weight", model.weight.detach().sigmoid().reshape(1, 2, 2).expand(3, 2, 2), step)
        self.writer.add_scalar("seen", step, 64 * step)
        return {"distance": (model.weight - 1).abs().sum()}


def own_loop(config: dict[str, Any]) -> None:
    writer = summary_writer()
    for step in range(1, 5):
        writer.add_scalars("line", {"a": step, "b": -step}, step)
        report({"train_loss": 1.0 / step})
    writer.add_text("last", "words")
