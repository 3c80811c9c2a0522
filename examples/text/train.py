"""Language models of sums such as "27+58=85": an LSTM and a small transformer, on text that is made here.

What is varied is the network and how it is trained; `batch_size` may be larger than memory allows. Such a batch is
computed in parts, with the gradients of the whole (docs/pytorch.md).
"""

from __future__ import annotations

import functools
import random
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from toprung.tuning.torch import TorchTrainable

ALPHABET = "0123456789+="
LENGTH = 32
"""Characters that are predicted at once."""
TRAIN, VALIDATION = 6_000, 1_000


@functools.cache
def load_data() -> tuple[Tensor, Tensor]:
    """Training and validation set, `(n, LENGTH + 1)` characters by their places in the alphabet."""
    rng = random.Random(0)
    text = ""
    while len(text) < (TRAIN + VALIDATION) * (LENGTH + 1):
        a, b = rng.randrange(100), rng.randrange(100)
        text += f"{a}+{b}={a + b}"
    rows = torch.tensor([ALPHABET.index(character) for character in text[: (TRAIN + VALIDATION) * (LENGTH + 1)]])
    rows = rows.reshape(-1, LENGTH + 1)
    return rows[:TRAIN], rows[TRAIN:]


class Lstm(nn.Module):  # type: ignore[misc]  # PyTorch is not typed here
    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(ALPHABET), width)
        self.lstm = nn.LSTM(width, width, layers, batch_first=True)
        self.head = nn.Linear(width, len(ALPHABET))

    def forward(self, characters: Tensor) -> Tensor:  # (B, T) -> (B, T, A)
        hidden, _ = self.lstm(self.embedding(characters))
        return self.head(hidden)


class Transformer(nn.Module):  # type: ignore[misc]
    def __init__(self, width: int, layers: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(ALPHABET), width)
        self.places = nn.Parameter(0.02 * torch.randn(LENGTH, width))
        layer = nn.TransformerEncoderLayer(width, 4, 4 * width, dropout=0.0, batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.head = nn.Linear(width, len(ALPHABET))
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(LENGTH))

    def forward(self, characters: Tensor) -> Tensor:  # (B, T) -> (B, T, A)
        length = characters.shape[1]
        hidden = self.embedding(characters) + self.places[:length]
        return self.head(self.layers(hidden, mask=self.mask[:length, :length], is_causal=True))


class Sums(TorchTrainable):
    clip_norm = 1.0

    def build(self, config: dict[str, Any]) -> tuple[Any, ...]:
        network = Lstm if config["network"] == "lstm" else Transformer
        model = network(config["width"], config["layers"])
        self.precision = config.get("precision", "fp32")
        return model, torch.optim.AdamW(model.parameters(), lr=config["lr"])

    def train_data(self, config: dict[str, Any]) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(TensorDataset(load_data()[0]), config["batch_size"], shuffle=True, drop_last=True)

    def eval_data(self, config: dict[str, Any]) -> DataLoader[tuple[Tensor, ...]]:
        return DataLoader(TensorDataset(load_data()[1]), 250)

    def training_step(self, batch: Any) -> Tensor:
        return loss_of(self.model, *batch)

    def evaluate(self, model: nn.Module, data: Any) -> dict[str, Tensor]:
        return {"val_loss": torch.stack([loss_of(model, *batch) for batch in data]).mean()}


def loss_of(model: nn.Module, characters: Tensor) -> Tensor:
    """In nats a character; ln 12 = 2.48 knows nothing."""
    return F.cross_entropy(model(characters[:, :-1]).flatten(0, 1), characters[:, 1:].flatten())
