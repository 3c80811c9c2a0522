"""The CNN of `train.py` on several workers to a trial: each has its part of the data, and a copy of the model.

The loop is one for Ray Train's `TorchTrainer`; `distribute` runs it in the workers of the trial.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import ray.train
import ray.train.torch
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from toprung.examples.digits.train import CHECKPOINT, build_model, build_optimizer, load_data, validate
from toprung.tuning.torch import distribute


def train_digits(config: dict[str, Any]) -> None:
    """The trainable: what it does is done in the workers."""
    distribute(train_loop, config)


def train_loop(config: dict[str, Any]) -> None:
    """In each worker: train for `config["epochs"]` epochs, or until the scheduler stops the trial."""
    workers = ray.train.get_context().get_world_size()
    train, val = load_data()
    model = build_model(config)
    first_epoch = 1
    checkpoint = ray.train.get_checkpoint()
    state = None
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder) / CHECKPOINT, weights_only=True)
        model.load_state_dict(state["model"])
        first_epoch = state["epoch"] + 1
    model = ray.train.torch.prepare_model(model)  # DistributedDataParallel, on the worker's device
    optimizer = build_optimizer(model, config)
    if state is not None:
        optimizer.load_state_dict(state["optimizer"])
    # the batch is that of all workers together: its size means the same with any number of them
    batches = DataLoader(TensorDataset(*train), max(1, config["batch_size"] // workers), shuffle=True)
    batches = ray.train.torch.prepare_data_loader(batches)  # a DistributedSampler: each worker has its part

    for epoch in range(first_epoch, config["epochs"] + 1):
        if workers > 1:
            batches.sampler.set_epoch(epoch)  # another order each time
        loss = train_epoch(model, optimizer, batches)
        metrics = {"train_loss": loss, **validate(unwrapped(model), on_device_of(model, val))}
        state = {
            "epoch": epoch,
            "config": config,
            "model": unwrapped(model).state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        if ray.train.get_context().get_world_rank() > 0:  # all are the same
            ray.train.report(metrics)
            continue
        with tempfile.TemporaryDirectory() as folder:
            torch.save(state, Path(folder) / CHECKPOINT)
            ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, batches: Any) -> float:
    """One pass over the worker's part of the data; the mean loss over its samples."""
    model.train()
    total, count = 0.0, 0
    for images, labels in batches:
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()  # takes the mean of the gradients over all workers
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        total += loss.item() * len(labels)
        count += len(labels)
    return total / count


def unwrapped(model: nn.Module) -> nn.Module:
    return model.module if isinstance(model, nn.parallel.DistributedDataParallel) else model


def on_device_of(model: nn.Module, data: Any) -> Any:
    device = next(model.parameters()).device
    return type(data)(*(part.to(device) for part in data))
