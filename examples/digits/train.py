"""A small CNN on scikit-learn's 8×8 digits: a Ray Tune function trainable, nothing of Toprung in it.

`train_digits` is all that a sweep needs: it takes a configuration, reports once an epoch, saves a checkpoint with each
report and goes on from the last one when the trial was interrupted. `python -m toprung.examples.digits.train --evaluate
DIR` loads a saved checkpoint and prints the metrics that the trial reported with it.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from ray import tune
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.nn import functional as F

CHECKPOINT = "checkpoint.pt"


class Split(NamedTuple):
    """Standardised images `(n, 1, 8, 8)` and their labels `(n,)`."""

    images: Tensor
    labels: Tensor


@functools.cache
def load_data() -> tuple[Split, Split]:
    """Training and validation set, always the same 1,437 and 360 digits.

    Cached, because a worker process runs many trials one after the other.
    """
    digits = load_digits()
    x_train, x_val, y_train, y_val = train_test_split(
        digits.images, digits.target, test_size=0.2, stratify=digits.target, random_state=0
    )
    mean, std = x_train.mean(), x_train.std()  # of the training set alone: nothing of the validation set leaks in

    def split(images: Any, labels: Any) -> Split:
        standardised = torch.tensor((images - mean) / std, dtype=torch.float32)
        return Split(standardised.unsqueeze(1), torch.tensor(labels, dtype=torch.long))

    return split(x_train, y_train), split(x_val, y_val)


def build_model(config: dict[str, Any]) -> nn.Sequential:
    channels, hidden = config["channels"], config["hidden"]
    return nn.Sequential(
        nn.Conv2d(1, channels, kernel_size=3, padding=1),  # (B, channels, 8, 8)
        nn.ReLU(),
        nn.MaxPool2d(2),  # (B, channels, 4, 4)
        nn.Conv2d(channels, 2 * channels, kernel_size=3, padding=1),
        nn.ReLU(),
        nn.Flatten(),  # (B, 2 * channels * 16)
        nn.Linear(2 * channels * 16, hidden),
        nn.ReLU(),
        nn.Dropout(config["dropout"]),
        nn.Linear(hidden, 10),
    )


def build_optimizer(model: nn.Module, config: dict[str, Any]) -> torch.optim.Optimizer:
    if config["optimizer"] == "sgd":
        return torch.optim.SGD(
            model.parameters(), lr=config["lr"], momentum=config["momentum"], weight_decay=config["weight_decay"]
        )
    return torch.optim.AdamW(model.parameters(), lr=config["lr"], weight_decay=config["weight_decay"])


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, data: Split, batch_size: int) -> float:
    """One pass over `data` in random order; the mean loss over its samples."""
    model.train()
    total = 0.0
    for batch in torch.randperm(len(data.labels)).split(batch_size):
        loss = F.cross_entropy(model(data.images[batch]), data.labels[batch])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # keeps the high end of `lr` bad, but finite
        optimizer.step()
        total += loss.item() * len(batch)
    return total / len(data.labels)


def validate(model: nn.Module, data: Split) -> dict[str, float]:
    model.eval()
    with torch.inference_mode():
        logits = model(data.images)
    return {
        "val_loss": F.cross_entropy(logits, data.labels).item(),
        "accuracy": (logits.argmax(dim=1) == data.labels).double().mean().item(),
    }


def train_digits(config: dict[str, Any]) -> None:
    """Train for `config["epochs"]` epochs, or until the scheduler stops the trial."""
    torch.set_num_threads(1)  # a trial is given one CPU; more threads would take it from the other trials
    torch.manual_seed(0)
    train, val = load_data()
    model = build_model(config)
    optimizer = build_optimizer(model, config)
    epochs_done = 0

    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder) / CHECKPOINT, weights_only=True)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        epochs_done = state["epoch"]

    for epoch in range(epochs_done + 1, config["epochs"] + 1):
        torch.manual_seed(epoch)  # shuffling and dropout depend on the epoch alone: resuming changes nothing
        train_loss = train_epoch(model, optimizer, train, config["batch_size"])
        metrics = {"train_loss": train_loss, **validate(model, val)}
        with tempfile.TemporaryDirectory() as folder:  # Tune copies it away before `report` returns
            state = {
                "epoch": epoch,
                "config": config,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            torch.save(state, Path(folder) / CHECKPOINT)
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


def evaluate(checkpoint_dir: Path) -> dict[str, float]:
    """Load a checkpoint back into the model and validate it.

    Returns:
        `val_loss` and `accuracy`, the figures that were reported with this checkpoint.

    Raises:
        FileNotFoundError: there is no checkpoint of `train_digits` in the directory.
    """
    torch.set_num_threads(1)  # as in training: another order of additions would move the last digit of the loss
    state = torch.load(checkpoint_dir / CHECKPOINT, weights_only=True)
    model = build_model(state["config"])
    model.load_state_dict(state["model"])
    return validate(model, load_data()[1])


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m toprung.examples.digits.train")
    parser.add_argument("--evaluate", type=Path, required=True, metavar="DIR", help="a checkpoint directory")
    directory = parser.parse_args().evaluate
    try:
        print(json.dumps(evaluate(directory)))
    except FileNotFoundError:
        parser.error(f"{directory} holds no {CHECKPOINT}; `toprung download` fetches the checkpoint of a trial")


if __name__ == "__main__":
    main()
