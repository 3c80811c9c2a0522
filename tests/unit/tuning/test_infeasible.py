"""Half of a space can't be trained: the search finds out, and turns to the other half."""

from __future__ import annotations

import random

import pytest

from toprung.tuning.records import TrialState
from toprung.tuning.search import Search
from toprung.tuning.spec import spec_from

TRIALS = 40
STARTUP = 15
SEEDS = range(2)


def part_infeasible(algorithm: str, seed: int) -> float:
    """Of the proposals after the first ones, how many don't fit into memory: large models, which would be the best."""
    spec = spec_from(
        {
            "trainable": "train:train",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {
                "width": {"type": "float", "low": 0.0, "high": 1.0},
                "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
            },
            "search": {"algorithm": algorithm, "seed": seed},
            "budget": {"trials": TRIALS},
        }
    )
    search, noise, failed = Search(spec.space, "minimize", spec.search), random.Random(seed), list[bool]()
    for number in range(TRIALS):
        params = search.ask(number)
        assert params is not None
        failed.append(bool(params["width"] > 0.5))
        if failed[-1]:
            search.tell(number, TrialState.FAILED)
            continue
        search.observe(number, 1, 1.0 - params["width"] + abs(params["lr"] - 0.1) + 0.01 * noise.random())
        search.tell(number, TrialState.COMPLETED)
    return sum(failed[STARTUP:]) / (TRIALS - STARTUP)


@pytest.mark.parametrize("algorithm", ["gp", "auto"])
def test_what_fails_is_proposed_far_less_often_than_at_random(algorithm: str) -> None:
    """Though the best lies at its border, across which a model looks again and again."""
    at_random = [part_infeasible("random", seed) for seed in SEEDS]
    proposed = [part_infeasible(algorithm, seed) for seed in SEEDS]
    assert sum(proposed) < 0.75 * sum(at_random), (proposed, at_random)
