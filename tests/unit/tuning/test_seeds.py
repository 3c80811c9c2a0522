"""A trial draws the same numbers each time that it is run, and others than its neighbours."""

from __future__ import annotations

import random

import numpy as np
import torch

from toprung.tuning.run.seeds import seed_all, sweep_seed, trial_seed


def drawn(seed: int, number: int, attempt: int = 1) -> tuple[float, float, float]:
    seed_all(trial_seed(seed, number, attempt))
    return random.random(), float(np.random.rand()), torch.rand(()).item()


def test_numbers_are_those_of_sweep_trial_and_attempt() -> None:
    assert drawn(3, 7) == drawn(3, 7)
    others = [drawn(3, 7), drawn(3, 8), drawn(4, 7), drawn(3, 7, attempt=2)]
    for of_each_generator in zip(*others, strict=True):
        assert len(set(of_each_generator)) == len(others)


def test_a_seed_of_the_spec_is_that_of_each_first_attempt() -> None:
    assert [trial_seed(3, number, 1, fixed=11) for number in (0, 5)] == [11, 11]
    assert len({trial_seed(3, 0, attempt, fixed=11) for attempt in (1, 2, 3)}) == 3


def test_a_sweep_without_a_seed_has_one_of_its_own() -> None:
    assert sweep_seed(0, "swp_a") == 0
    assert sweep_seed(None, "swp_a") == sweep_seed(None, "swp_a") != sweep_seed(None, "swp_b")
