"""Trials with several workers. Memory is said to be full: a GPU that is can't be had here."""

from __future__ import annotations

import os
import signal
import tempfile
import time
from pathlib import Path
from typing import Any

import ray.train
import torch

from toprung.tuning.torch import distribute, report


def several_workers(config: dict[str, Any]) -> None:
    """Each rank adds to a number that all have; what the last worker does before the third step, the config says."""
    distribute(count_together, config)


def count_together(config: dict[str, Any]) -> None:
    rank, total = ray.train.get_context().get_world_rank(), torch.zeros(1)
    step = 0
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            step, total = torch.load(Path(folder) / "state.pt")
    print(f"worker {rank} begins after step {step} with {torch.rand(1).item():.6f}")
    while step < 3:
        if rank == 1 and step == 2:
            misbehave(config)
        step += 1
        mine = torch.tensor([rank + 1.0])
        torch.distributed.all_reduce(mine)
        total = total + mine
        with tempfile.TemporaryDirectory() as folder:
            torch.save((step, total), Path(folder) / "state.pt")
            report({"loss": total + config["x"]}, checkpoint=ray.train.Checkpoint.from_directory(folder))


def misbehave(config: dict[str, Any]) -> None:
    match config["does"]:
        case "dies once":
            if not os.path.exists(config["flag"]):
                Path(config["flag"]).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        case "is full":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 39 MiB free.")
        case "hangs":
            Path(config["flag"]).touch()
            time.sleep(600)
