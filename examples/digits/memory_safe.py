"""The CNN of `train.py` as a `TorchTrainable`: the loop, devices, checkpoints and running out of memory are its affair.

`sweep.yaml` runs it with `trainable: toprung.examples.digits.memory_safe:Digits`.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from toprung.examples.digits.train import build_model, build_optimizer, load_data
from toprung.tuning.torch import TorchTrainable


class Digits(TorchTrainable):
    clip_norm = 1.0  # keeps the high end of `lr` bad, but finite

    def build(self, config: dict[str, Any]) -> tuple[nn.Module, torch.optim.Optimizer]:
        model = build_model(config)
        return model, build_optimizer(model, config)

    def train_data(self, config: dict[str, Any]) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(TensorDataset(*load_data()[0]), config["batch_size"], shuffle=True)

    def eval_data(self, config: dict[str, Any]) -> Any:
        return load_data()[1]

    def training_step(self, batch: Any) -> Tensor:
        images, labels = batch
        return F.cross_entropy(self.model(images), labels)

    def evaluate(self, model: nn.Module, data: Any) -> dict[str, Tensor]:
        logits = model(data.images)
        return {
            "val_loss": F.cross_entropy(logits, data.labels),
            "accuracy": (logits.argmax(dim=1) == data.labels).double().mean(),
        }
