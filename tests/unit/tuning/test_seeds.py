"""A trial draws the same numbers each time that it is run, and others than its neighbours."""

from __future__ import annotations

import random

import numpy as np
import torch

from toprung.tuning.run.seeds import seed_all


def drawn(seed: int, number: int, attempt: int = 1) -> tuple[float, float, float]:
    seed_all(seed, number, attempt)
    return random.random(), float(np.random.rand()), torch.rand(()).item()


def test_numbers_are_those_of_sweep_trial_and_attempt() -> None:
    assert drawn(3, 7) == drawn(3, 7)
    others = [drawn(3, 7), drawn(3, 8), drawn(4, 7), drawn(3, 7, attempt=2)]
    for of_each_generator in zip(*others, strict=True):
        assert len(set(of_each_generator)) == len(others)
