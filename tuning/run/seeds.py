"""Random numbers that a trial draws the same each time that it is run."""

from __future__ import annotations

import random
import sys
import zlib

import numpy as np


def sweep_seed(seed: int | None, sweep_id: str) -> int:
    """The seed of a sweep: its spec's or, where that has none, one that is the sweep's own.

    After a restart of its runner the proposals then go on as they would have.
    """
    return seed if seed is not None else zlib.crc32(sweep_id.encode())


def trial_seed(seed: int, number: int, attempt: int, fixed: int | None = None) -> int:
    """The seed of an attempt, 32 bits.

    Args:
        seed: the sweep's.
        number: the trial's; of a trial that is tried again, that of the first.
        attempt: from 1. A later one has another seed: who goes on from a checkpoint doesn't shuffle as at the start.
        fixed: `trial_seed` of the spec: the seed of each trial's first attempt.
    """
    if fixed is not None and attempt == 1:
        return fixed
    entropy = [seed, number, attempt - 1] if fixed is None else [fixed, attempt - 1]
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def seed_all(seed: int) -> None:
    """Seeds Python's, NumPy's and, where it is loaded, PyTorch's generators, on all devices."""
    random.seed(seed)
    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)
