"""Random numbers that a trial draws the same each time that it is run."""

from __future__ import annotations

import random
import sys

import numpy as np


def seed_all(seed: int, number: int, attempt: int) -> None:
    """Seeds Python's, NumPy's and, where it is loaded, PyTorch's generators, on all devices.

    Args:
        seed: the sweep's.
        number: the trial's; of a trial that is tried again, that of the first.
        attempt: from 1. A later one has other numbers: who goes on from a checkpoint doesn't shuffle as at the start.
    """
    own = int(np.random.SeedSequence([seed, number, attempt - 1]).generate_state(1)[0])
    random.seed(own)
    np.random.seed(own)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(own)
