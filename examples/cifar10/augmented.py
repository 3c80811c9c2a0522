"""The CIFAR-10 sweep as a `TorchTrainable`, with pictures that are flipped and shifted while training.

The network, the pictures and the validation are those of `train.py`; the loop, devices, precision, checkpoints and
batches too large for the memory are `TorchTrainable`'s affair.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from toprung.examples.cifar10.train import Images, build_model, data_folder, load_data, to_input, validate
from toprung.tuning.torch import TorchTrainable


class Cifar(TorchTrainable):
    def build(self, config: dict[str, Any]) -> tuple[Any, ...]:
        self.precision = config.get("precision", "fp32")
        model = build_model(config["l1"], config["l2"])
        optimizer = torch.optim.SGD(
            model.parameters(), lr=config["lr"], momentum=0.9, weight_decay=config["weight_decay"], nesterov=True
        )
        return model, optimizer, torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config["epochs"])

    def train_data(self, config: dict[str, Any]) -> DataLoader[tuple[Tensor, ...]]:
        train, _, _ = load_data(data_folder(config))
        return DataLoader(TensorDataset(train.pixels, train.labels), config["batch_size"], shuffle=True)

    def eval_data(self, config: dict[str, Any]) -> Images:
        return load_data(data_folder(config))[1]

    def training_step(self, batch: Any) -> Tensor:
        pixels, labels = batch
        if self.config["flip"]:
            pixels = flipped(pixels)
        return F.cross_entropy(self.model(to_input(shifted(pixels, self.config["shift"]))), labels)

    def evaluate(self, model: nn.Module, data: Any) -> dict[str, float]:
        return validate(model, data)


def flipped(pixels: Tensor) -> Tensor:
    """Half of the pictures `(B, 3, 32, 32)`, mirrored."""
    chosen = torch.rand(len(pixels), 1, 1, 1, device=pixels.device) < 0.5
    return torch.where(chosen, pixels.flip(3), pixels)


def shifted(pixels: Tensor, most: int) -> Tensor:
    """All pictures by the same few pixels, at most `most` each way; black comes in at the edges."""
    if most == 0:
        return pixels
    down, right = torch.randint(0, 2 * most + 1, (2,)).tolist()
    height, width = pixels.shape[2:]
    return F.pad(pixels, [most] * 4)[:, :, down : down + height, right : right + width]
