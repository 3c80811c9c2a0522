"""The network and the sweep of PyTorch's tutorial "Hyperparameter tuning with Ray Tune", on CIFAR-10.

A Ray Tune function trainable, nothing of Toprung in it. The images come from a local CIFAR-10 folder; where none is
given, a synthetic set of the same shape stands in. `python train.py --test DIR` loads a checkpoint and prints its loss
and accuracy on the test set.
"""

from __future__ import annotations

import argparse
import codecs
import functools
import json
import os
import pickle
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray import tune
from torch import Tensor, nn
from torch.nn import functional as F

CHECKPOINT = "checkpoint.pt"
CLASSES = 10
SYNTHETIC_TRAIN, SYNTHETIC_VAL, SYNTHETIC_TEST = 2000, 500, 500


@dataclass(frozen=True)
class Images:
    """Pixels `(n, 3, 32, 32)` as bytes, labels `(n,)`."""

    pixels: Tensor
    labels: Tensor

    def to(self, device: torch.device) -> Images:
        return Images(self.pixels.to(device), self.labels.to(device))

    def part(self, start: int, stop: int) -> Images:
        return Images(self.pixels[start:stop], self.labels[start:stop])


# --- data: training, validation and test set ---


@functools.cache
def load_data(folder: str | None) -> tuple[Images, Images, Images]:
    """The three sets; cached, because a worker process runs many trials one after the other.

    Args:
        folder: `cifar-10-batches-py`, unpacked from https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz. The
            validation set is the last fifth of its training images. None makes the synthetic set.
    """
    if folder is None:
        print(f"No CIFAR-10 folder given: {SYNTHETIC_TRAIN} synthetic images stand in. Set data_dir or CIFAR10_DIR.")
        images = synthetic_images(SYNTHETIC_TRAIN + SYNTHETIC_VAL + SYNTHETIC_TEST)
        val, test = SYNTHETIC_TRAIN, SYNTHETIC_TRAIN + SYNTHETIC_VAL
        return images.part(0, val), images.part(val, test), images.part(test, len(images.labels))
    images = read_images(Path(folder), [f"data_batch_{i}" for i in range(1, 6)])
    val = len(images.labels) * 4 // 5
    return images.part(0, val), images.part(val, len(images.labels)), read_images(Path(folder), ["test_batch"])


def read_images(folder: Path, names: list[str]) -> Images:
    batches = [read_batch(folder / name) for name in names]
    pixels = np.concatenate([batch[b"data"] for batch in batches])
    labels = [label for batch in batches for label in batch[b"labels"]]
    return Images(torch.from_numpy(pixels.reshape(-1, 3, 32, 32)), torch.tensor(labels))


RECONSTRUCT = np.zeros(0).__reduce__()[0]
PICKLED_ARRAYS = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("numpy.core.multiarray", "_reconstruct"): RECONSTRUCT,
    ("numpy._core.multiarray", "_reconstruct"): RECONSTRUCT,  # its name since numpy 2
    ("_codecs", "encode"): codecs.encode,  # how Python 3 writes bytes in Python 2's format
}


class ArrayUnpickler(pickle.Unpickler):
    """Builds numpy arrays, lists, strings and numbers, and refuses everything else.

    CIFAR-10 is distributed as pickles, and a pickle may call any function while it is loaded.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in PICKLED_ARRAYS:
            return PICKLED_ARRAYS[module, name]
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a CIFAR-10 file: refused to load it")


def read_batch(path: Path) -> dict[bytes, Any]:
    with path.open("rb") as file:
        batch: dict[bytes, Any] = ArrayUnpickler(file, encoding="bytes").load()
    return batch


def synthetic_images(num_images: int) -> Images:
    """Noisy pictures of ten smooth patterns, one a class, each shifted by a few pixels: learnable, but not at once."""
    rng = torch.Generator().manual_seed(0)
    patterns = F.interpolate(torch.rand(CLASSES, 3, 4, 4, generator=rng), size=32, mode="bilinear")
    labels = torch.arange(num_images) % CLASSES
    shifts = torch.randint(-3, 4, (num_images, 2), generator=rng).tolist()
    shifted = [patterns[k].roll(shift, dims=(1, 2)) for k, shift in zip(labels.tolist(), shifts, strict=True)]
    noise = 0.3 * torch.randn(num_images, 3, 32, 32, generator=rng)
    return Images(((torch.stack(shifted) + noise).clamp(0, 1) * 255).byte(), labels)


# --- model and training ---


def build_model(l1: int, l2: int) -> nn.Sequential:
    """A LeNet with `l1` and `l2` units in its fully connected layers."""
    return nn.Sequential(
        nn.Conv2d(3, 6, kernel_size=5),  # (B, 6, 28, 28)
        nn.ReLU(),
        nn.MaxPool2d(2),  # (B, 6, 14, 14)
        nn.Conv2d(6, 16, kernel_size=5),  # (B, 16, 10, 10)
        nn.ReLU(),
        nn.MaxPool2d(2),  # (B, 16, 5, 5)
        nn.Flatten(),
        nn.Linear(16 * 5 * 5, l1),
        nn.ReLU(),
        nn.Linear(l1, l2),
        nn.ReLU(),
        nn.Linear(l2, CLASSES),
    )


def to_input(pixels: Tensor) -> Tensor:
    """Bytes 0..255 to floats -1..1, a batch at a time: the set itself stays small."""
    return pixels.float() / 127.5 - 1.0


def train_epoch(model: nn.Module, optimizer: torch.optim.Optimizer, data: Images, batch_size: int) -> None:
    model.train()
    for batch in torch.randperm(len(data.labels), device=data.labels.device).split(batch_size):
        loss = F.cross_entropy(model(to_input(data.pixels[batch])), data.labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def validate(model: nn.Module, data: Images) -> dict[str, float]:
    model.eval()
    loss, correct = 0.0, 0
    for pixels, labels in zip(data.pixels.split(1000), data.labels.split(1000), strict=True):
        with torch.inference_mode():
            logits = model(to_input(pixels))
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        correct += int((logits.argmax(dim=1) == labels).sum())
    return {"loss": loss / len(data.labels), "accuracy": correct / len(data.labels)}


def best_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")  # Ray shows a trial only the GPUs it was given


def data_folder(config: dict[str, Any]) -> str | None:
    """The CIFAR-10 folder named in the sweep, or else on the machine."""
    return config.get("data_dir") or os.environ.get("CIFAR10_DIR")


def train_cifar(config: dict[str, Any]) -> None:
    """Train for `config["epochs"]` epochs, or until the scheduler stops the trial."""
    torch.manual_seed(0)
    device = best_device()
    train, val, _ = load_data(data_folder(config))
    train, val = train.to(device), val.to(device)
    model = build_model(config["l1"], config["l2"]).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=config["lr"], momentum=0.9)
    epochs_done = 0

    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            state = torch.load(Path(folder) / CHECKPOINT, weights_only=True, map_location=device)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        epochs_done = state["epoch"]

    for epoch in range(epochs_done + 1, config["epochs"] + 1):
        torch.manual_seed(epoch)  # the order of the samples depends on the epoch alone: resuming changes nothing
        train_epoch(model, optimizer, train, config["batch_size"])
        metrics = validate(model, val)
        with tempfile.TemporaryDirectory() as folder:  # Tune copies it away before `report` returns
            state = {
                "epoch": epoch,
                "config": config,
                "model": model.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            torch.save(state, Path(folder) / CHECKPOINT)
            tune.report(metrics, checkpoint=tune.Checkpoint.from_directory(folder))


# --- a finished trial ---


def test(checkpoint_dir: Path) -> dict[str, float]:
    """Loss and accuracy of a checkpoint on the test set, which no trial has seen.

    Raises:
        FileNotFoundError: there is no checkpoint of `train_cifar` in the directory.
    """
    device = best_device()
    state = torch.load(checkpoint_dir / CHECKPOINT, weights_only=True, map_location=device)
    model = build_model(state["config"]["l1"], state["config"]["l2"]).to(device)
    model.load_state_dict(state["model"])
    return validate(model, load_data(data_folder(state["config"]))[2].to(device))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--test", type=Path, required=True, metavar="DIR", help="a checkpoint directory")
    directory = parser.parse_args().test
    try:
        print(json.dumps(test(directory)))
    except FileNotFoundError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
