"""The same training twice, as a plain Ray Tune function and as a `TorchTrainable`, on a device with little memory.

The device is made up, so that every machine has it: what autograd keeps for the backward pass is counted, and PyTorch's
own exception raised where it is more than the device holds. Lines get longer from result to result, so that a trial may
run out of memory late.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from ray import tune
from torch import Tensor, nn

from toprung.examples.text.train import LENGTH, Sums, Transformer, load_data, loss_of

RESULTS, STEPS = 9, 4
"""Results of a trial, and steps of the optimiser to each."""


class SmallDevice:
    """A context in which forward passes may keep so many MiB for their backward pass."""

    def __init__(self, memory_mb: float) -> None:
        self._left = memory_mb * 2**20
        self._seen: set[int] = set()
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self._left -= storage.nbytes()
            if self._left < 0:
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {storage.nbytes()} bytes.")
        return tensor

    def __enter__(self) -> None:
        self._hooks.__enter__()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._hooks.__exit__(kind, error, tb)


def loss_on_device(model: nn.Module, rows: Tensor, result: int, memory_mb: float) -> Tensor:
    """Of lines whose length depends on the result that is trained for, from 0."""
    with SmallDevice(memory_mb):
        return loss_of(model, rows[:, : min(LENGTH, 8 + 3 * result) + 1])


def batches(rows: Tensor, batch_size: int, result: int) -> list[Tensor]:
    rng = torch.Generator().manual_seed(result)
    return [rows[torch.randperm(len(rows), generator=rng)[:batch_size]] for _ in range(STEPS)]


def plain(config: dict[str, Any]) -> None:
    """What a user of Ray Tune writes: a loop with a checkpoint to each report."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    train, validation = load_data()
    model = Transformer(config["width"], 1)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["lr"])
    for result in range(RESULTS):
        for batch in batches(train, config["batch_size"], result):
            optimizer.zero_grad()
            loss_on_device(model, batch, result, config["memory_mb"]).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        with torch.inference_mode():
            val_loss = loss_of(model, validation).item()
        with tempfile.TemporaryDirectory() as folder:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict()}, Path(folder) / "state.pt")
            tune.report({"val_loss": val_loss}, checkpoint=tune.Checkpoint.from_directory(folder))


class Safe(Sums):
    """The same as a `TorchTrainable`."""

    steps_per_result = STEPS

    def build(self, config: dict[str, Any]) -> tuple[Any, ...]:
        torch.set_num_threads(1)
        torch.manual_seed(0)
        model = Transformer(config["width"], 1)
        return model, torch.optim.AdamW(model.parameters(), lr=config["lr"])

    def train_data(self, config: dict[str, Any]) -> list[Tensor]:
        train, _ = load_data()
        return [batch for result in range(RESULTS) for batch in batches(train, config["batch_size"], result)]

    def eval_data(self, config: dict[str, Any]) -> Tensor:
        return load_data()[1]

    def training_step(self, batch: Tensor) -> Tensor:
        return loss_on_device(self.model, batch, self.iteration, self.config["memory_mb"])

    def evaluate(self, model: nn.Module, data: Tensor) -> dict[str, Tensor]:
        return {"val_loss": loss_of(model, data)}
