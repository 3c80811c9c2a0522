"""Proposals: inside the space, reproducible, and honest about trials that were stopped early."""

from __future__ import annotations

import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toprung.tuning.plan import compared_at, num_trials
from toprung.tuning.records import TrialState
from toprung.tuning.search import Params, Search
from toprung.tuning.search.cube import Cube
from toprung.tuning.spec import spec_from

ALGORITHMS = ["auto", "tpe", "random", "gp", "cmaes", "qmc"]

SPACE: dict[str, Any] = {
    "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "l1": {"type": "int", "low": 4, "high": 64},
    "l2": {"type": "int", "low": 4, "high": 64},
    "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
    "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": "sgd"}},
}
LINE: dict[str, Any] = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
ASHA: dict[str, Any] = {"type": "asha", "max_t": 9}


def search_of(algorithm: str = "tpe", seed: int = 0, goal: str = "minimize", **changes: Any) -> Search:
    spec = spec_from(
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
    return Search(spec.space, spec.metric.goal, spec.search, compared_at(spec.scheduler))


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
    for params in run(search_of(algorithm), 14):
        assert 1e-4 <= params["lr"] <= 1e-1
        assert 4 <= params["l2"] <= params["l1"] <= 64
        assert ("momentum" in params) == (params["optimizer"] == "sgd")


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_same_seed_and_history_same_proposals(algorithm: str) -> None:
    assert run(search_of(algorithm), 12) == run(search_of(algorithm), 12)
    assert run(search_of(algorithm), 3) != run(search_of(algorithm, seed=1), 3)


def test_a_relation_that_few_configurations_meet_is_met() -> None:
    search = search_of("random", constraints=["l1 == l2"])

    assert all(params["l1"] == params["l2"] for params in run(search, 5))


def test_grid_gives_each_point_once_and_ends() -> None:
    grid = search_of(
        "grid",
        parameters={
            "a": {"type": "categorical", "choices": [1, 2, 3]},
            "b": {"type": "int", "low": 0, "high": 4, "step": 2},
        },
        constraints=[],
    )

    points = run(grid, 100)

    assert sorted((p["a"], p["b"]) for p in points) == [(a, b) for a in (1, 2, 3) for b in (0, 2, 4)]


def test_tpe_finds_the_better_region() -> None:
    """Over 60 trials the later proposals are nearer to the optimum than random ones."""
    search = search_of(parameters=LINE, constraints=[])
    distances = []
    for number in range(60):
        params = search.ask(number)
        assert params is not None
        distances.append(abs(params["x"] - 0.7))
        search.observe(number, 1, distances[-1])
        search.tell(number, TrialState.COMPLETED)

    # uniform draws have a median distance of 0.25
    assert statistics.median(distances[30:]) < 0.12


def test_the_highest_rung_with_enough_scores_counts() -> None:
    """What looks best at rung 1 is worst at rung 9: the search goes by the latter."""
    search = search_of(parameters=LINE, constraints=[], scheduler=ASHA)
    asked = []
    for number in range(50):
        params = search.ask(number)
        assert params is not None
        asked.append(params["x"])
        search.observe(number, 1, asked[-1])
        search.observe(number, 9, 1.0 - asked[-1])
        search.tell(number, TrialState.COMPLETED)

    assert statistics.median(asked[20:]) > 0.75


def test_too_few_scores_at_a_rung_do_not_count() -> None:
    search = search_of(parameters=LINE, constraints=[], scheduler=ASHA)
    asked = []
    for number in range(50):
        params = search.ask(number)
        assert params is not None
        asked.append(params["x"])
        search.observe(number, 1, asked[-1])
        if number < 3:
            search.observe(number, 9, 1.0 - asked[-1])
        search.tell(number, TrialState.PRUNED)

    assert statistics.median(asked[20:]) < 0.25


@pytest.mark.parametrize("algorithm", ["auto", "tpe", "gp"])
def test_a_region_that_fails_is_left_alone(algorithm: str) -> None:
    search = search_of(algorithm, parameters=LINE, constraints=[])
    failures = []
    for number in range(40):
        params = search.ask(number)
        assert params is not None
        failures.append(params["x"] > 0.4)
        if not failures[-1]:
            search.observe(number, 1, params["x"])
        search.tell(number, TrialState.FAILED if failures[-1] else TrialState.COMPLETED)

    assert sum(failures[:10]) > 3, "at random most are there"
    assert sum(failures[20:]) < 10


def test_workers_do_not_crowd() -> None:
    """Proposals asked for while others run differ, though nothing new is known."""
    search = search_of(parameters=LINE, constraints=[])
    run(search, 30)

    asked = [search.ask(number) for number in range(30, 46)]

    places = sorted(params["x"] for params in asked if params is not None)
    assert len(set(places)) == 16
    assert places[-1] - places[0] > 0.2


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "grid"])
def test_a_finite_space_gives_each_configuration_once(algorithm: str) -> None:
    parameters = {
        "a": {"type": "categorical", "choices": ["x", "y"]},
        "b": {"type": "int", "low": 1, "high": 4},
        "c": {"type": "float", "low": 0.0, "high": 0.3, "step": 0.1, "when": {"a": "x"}},
    }

    asked = run(search_of(algorithm, parameters=parameters, constraints=["b >= 2"]), 100)

    assert len(asked) == 3 * 4 + 3
    assert len({str(sorted(params.items())) for params in asked}) == 15


@given(step=st.integers(1, 10), place=st.floats(0, 1))
def test_values_with_a_step_lie_on_it_up_to_the_ends_of_the_cube(step: int, place: float) -> None:
    spec = spec_from(
        {
            "trainable": "train:train",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {"x": {"type": "int", "low": 0, "high": 10, "step": step}},
            "budget": {"trials": 1},
        }
    )
    cube = Cube(spec.space)

    for at in (0.0, place, 1.0):
        value = cube.decode(np.array([at]))["x"]
        assert value in range(0, 11, step)
        assert cube.decode(cube.encode({"x": value})) == {"x": value}


def test_a_finite_space_bounds_the_sweep() -> None:
    spec = spec_from(
        {
            "trainable": "train:train",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {
                "a": {"type": "categorical", "choices": [1, 2, 3]},
                "b": {"type": "int", "low": 1, "high": 4},
            },
            "budget": {"trials": 100},
        }
    )

    assert num_trials(spec) == 12


@pytest.mark.parametrize("algorithm", ["auto", "tpe", "random", "qmc", "gp"])
def test_a_search_brought_back_from_its_history_goes_on_as_it_would_have(algorithm: str) -> None:
    unbroken = search_of(algorithm, scheduler=ASHA)
    asked = run(unbroken, 20)

    again = search_of(algorithm, scheduler=ASHA)
    for number, params in enumerate(asked):
        again.add(number, params)
        again.observe(number, 1, float(number % 5))
        again.tell(number, TrialState.PRUNED if number % 2 else TrialState.COMPLETED)

    assert [again.ask(number) for number in range(20, 24)] == [unbroken.ask(number) for number in range(20, 24)]


def test_maximize_turns_the_goal() -> None:
    search = search_of(goal="maximize", parameters=LINE, constraints=[])
    for number in range(60):
        params = search.ask(number)
        assert params is not None
        search.observe(number, 1, params["x"])
        search.tell(number, TrialState.COMPLETED)

    late = [search.ask(number) for number in range(60, 80)]

    assert statistics.median(params["x"] for params in late if params is not None) > 0.75


def test_cmaes_turns_from_what_fails_to_what_was_stopped_early() -> None:
    square = {name: {"type": "float", "low": 0.0, "high": 1.0} for name in "xy"}
    search = search_of("cmaes", parameters=square, constraints=[], scheduler=ASHA)
    failures = []
    for number in range(80):
        params = search.ask(number)
        assert params is not None
        failures.append(params["x"] > 0.5)
        if not failures[-1]:
            search.observe(number, 1, params["y"])
        search.tell(number, TrialState.FAILED if failures[-1] else TrialState.PRUNED)

    assert sum(failures[-30:]) < 10


def test_failed_and_unknown_trials_are_taken_note_of_quietly() -> None:
    search = search_of()
    search.ask(0)

    search.tell(0, TrialState.FAILED)
    search.tell(0, TrialState.COMPLETED)
    search.tell(99, TrialState.COMPLETED)
    search.observe(99, 1, 0.5)

    assert search.ask(1) is not None
