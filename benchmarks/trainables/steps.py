"""A trainable with the rhythm of a training on an accelerator: each step works a little, then waits."""

from __future__ import annotations

import math
import time
from typing import Any

import numpy as np
from ray import tune


def train(config: dict[str, Any]) -> None:
    """`max_t` steps, each of `products` matrix products (0.2 ms each) and `wait_ms` without work.

    The loss falls with the step, the faster the nearer `lr` is to 0.01.
    """
    weights = np.random.default_rng(0).standard_normal((128, 128)) / 12
    batch = np.ones((128, 128))
    miss = abs(math.log10(config["lr"]) + 2)
    for step in range(1, config["max_t"] + 1):
        for _ in range(config["products"]):
            batch = np.tanh(batch @ weights)
        time.sleep(config["wait_ms"] / 1000)
        loss = 0.1 + miss + math.exp(-step / (3 + config["width"] / 64))
        tune.report({"loss": loss, "accuracy": math.exp(-loss), "spread": float(batch.std())})
