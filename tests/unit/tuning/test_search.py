"""Proposals: inside the space, reproducible, and honest about trials that were stopped early."""

from __future__ import annotations

import statistics
from typing import Any

import pytest

from toprung.tuning.records import TrialState
from toprung.tuning.search import Params, Search
from toprung.tuning.spec import SweepSpec, spec_from

ALGORITHMS = ["tpe", "random", "gp", "cmaes", "qmc"]

SPACE: dict[str, Any] = {
    "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "l1": {"type": "int", "low": 4, "high": 64},
    "l2": {"type": "int", "low": 4, "high": 64},
    "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
    "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": "sgd"}},
}


def spec(algorithm: str = "tpe", seed: int | None = 0, goal: str = "minimize", **changes: Any) -> SweepSpec:
    return spec_from(
        {
            "trainable": "train:train",
            "metric": {"name": "loss", "goal": goal},
            "parameters": SPACE,
            "constraints": ["l2 <= l1"],
            "search": {"algorithm": algorithm, "seed": seed},
            "budget": {"trials": 10},
            **changes,
        }
    )


def run(search: Search, trials: int) -> list[Params]:
    """Trials one after the other; every other one is stopped early, the rest complete."""
    asked = []
    for number in range(trials):
        params = search.ask(number)
        if params is None:
            break
        asked.append(params)
        search.observe(number, 1, float(number % 5))
        search.tell(number, TrialState.PRUNED if number % 2 else TrialState.COMPLETED)
    return asked


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_proposals_keep_bounds_conditions_and_relations(algorithm: str) -> None:
    for params in run(Search(spec(algorithm)), 14):
        assert 1e-4 <= params["lr"] <= 1e-1
        assert 4 <= params["l2"] <= params["l1"] <= 64
        assert ("momentum" in params) == (params["optimizer"] == "sgd")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_same_seed_and_history_same_proposals(algorithm: str) -> None:
    assert run(Search(spec(algorithm)), 12) == run(Search(spec(algorithm)), 12)
    assert run(Search(spec(algorithm)), 3) != run(Search(spec(algorithm, seed=1)), 3)


def test_a_relation_that_few_configurations_meet_is_met() -> None:
    search = Search(spec("random", constraints=["l1 == l2"]))

    assert all(params["l1"] == params["l2"] for params in run(search, 5))


def test_grid_gives_each_point_once_and_ends() -> None:
    grid = spec(
        "grid",
        parameters={
            "a": {"type": "categorical", "choices": [1, 2, 3]},
            "b": {"type": "int", "low": 0, "high": 4, "step": 2},
        },
        constraints=[],
    )

    points = run(Search(grid), 100)

    assert sorted((p["a"], p["b"]) for p in points) == [(a, b) for a in (1, 2, 3) for b in (0, 2, 4)]


def test_tpe_finds_the_better_region() -> None:
    """Over 60 trials the later proposals are nearer to the optimum than random ones."""
    search = Search(spec("tpe", parameters={"x": {"type": "float", "low": 0.0, "high": 1.0}}, constraints=[]))
    distances = []
    for number in range(60):
        params = search.ask(number)
        assert params is not None
        distances.append(abs(params["x"] - 0.7))
        search.observe(number, 1, distances[-1])
        search.tell(number, TrialState.COMPLETED)

    # uniform draws have a median distance of 0.25
    assert statistics.median(distances[30:]) < 0.12


def test_a_stopped_trial_is_not_told_as_if_it_were_finished() -> None:
    """Stopped trials with a misleading low value at step 1 don't draw the search to their region."""
    search = Search(spec("tpe", parameters={"x": {"type": "float", "low": 0.0, "high": 1.0}}, constraints=[]))
    late = []
    for number in range(80):
        params = search.ask(number)
        assert params is not None
        if params["x"] < 0.5:
            search.observe(number, 1, -1.0)
            search.tell(number, TrialState.PRUNED)
        else:
            search.observe(number, 1, 5.0)
            search.observe(number, 9, abs(params["x"] - 0.9))
            search.tell(number, TrialState.COMPLETED)
        late.append(params["x"])

    assert sum(x > 0.5 for x in late[40:]) > 30


def test_failed_and_unknown_trials_are_taken_note_of_quietly() -> None:
    search = Search(spec())
    search.ask(0)

    search.tell(0, TrialState.FAILED)
    search.tell(0, TrialState.COMPLETED)
    search.tell(99, TrialState.COMPLETED)
    search.observe(99, 1, 0.5)

    assert search.ask(1) is not None
