"""The configurations that a user wants tried first: checked with the spec, tried in their order, once."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toprung.errors import InvalidSpec, Problem
from toprung.tuning.search import Params, Search
from toprung.tuning.spec import SweepSpec, dump_spec, parse_spec, spec_from
from toprung.tuning.spec.space import flat

ALGORITHMS = ["auto", "tpe", "random", "gp", "cmaes", "qmc"]

PARAMETERS = {
    "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
    "batch_size": {"type": "int", "low": 16, "high": 64, "step": 16},
    "dropout": {"type": "float", "low": 0.0, "high": 0.5, "step": 0.1},
    "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
    "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": "sgd"}},
    "model": {"l1": {"type": "int", "low": 4, "high": 64}, "l2": {"type": "int", "low": 4, "high": 64}, "act": "relu"},
}
FINITE = {
    "a": {"type": "categorical", "choices": ["x", "y"]},
    "b": {"type": "int", "low": 1, "high": 3},
    "c": {"type": "float", "low": 0.0, "high": 0.2, "step": 0.1, "when": {"a": "x"}},
}


def spec(
    points: list[Any], parameters: dict[str, Any] = PARAMETERS, algorithm: str = "random", **changes: Any
) -> SweepSpec:
    return spec_from(
        {
            "trainable": "train:train",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": parameters,
            "search": {"algorithm": algorithm, "seed": 0, "points": points},
            "budget": {"trials": 50},
            **changes,
        }
    )


def search(points: list[Any], parameters: dict[str, Any] = PARAMETERS, algorithm: str = "random") -> Search:
    made = spec(points, parameters, algorithm)
    return Search(made.space, made.metric.goal, made.search)


def problems_of(points: list[Any], **changes: Any) -> list[Problem]:
    with pytest.raises(InvalidSpec) as refused:
        spec(points, **changes)
    return list(refused.value.problems)


# -- the spec


@pytest.mark.parametrize(
    ("point", "pointer", "code"),
    [
        ({"lrr": 0.1}, "/search/points/0/lrr", "unknown_parameter"),
        ({"model": {"l3": 8}}, "/search/points/0/model/l3", "unknown_parameter"),
        ({"model": 8}, "/search/points/0/model", "unknown_parameter"),
        ({"lr": {"low": 0.1}}, "/search/points/0/lr/low", "unknown_parameter"),
        ({"lr": 0.5}, "/search/points/0/lr", "impossible_value"),
        ({"lr": float("nan")}, "/search/points/0/lr", "impossible_value"),
        ({"lr": "1e-3"}, "/search/points/0/lr", "impossible_value"),
        ({"batch_size": 33}, "/search/points/0/batch_size", "impossible_value"),
        ({"batch_size": 32.0}, "/search/points/0/batch_size", "impossible_value"),
        ({"batch_size": True}, "/search/points/0/batch_size", "impossible_value"),
        ({"dropout": 0.25}, "/search/points/0/dropout", "impossible_value"),
        ({"optimizer": "adagrad"}, "/search/points/0/optimizer", "impossible_value"),
        ({"optimizer": ["sgd"]}, "/search/points/0/optimizer", "impossible_value"),
        ({"optimizer": "adam", "momentum": 0.9}, "/search/points/0/momentum", "inactive_parameter"),
        ({"momentum": 0.9}, "/search/points/0/momentum", "inactive_parameter"),
        ({"lr": 0.1, "model": {"act": "tanh"}}, "/search/points/0/model/act", "not_varied"),
        ({"model/l1": 65}, "/search/points/0/model~1l1", "impossible_value"),
        ({}, "/search/points/0", "empty_point"),
        ({"model": {"act": "relu"}}, "/search/points/0", "empty_point"),
        (3, "/search/points/0", "invalid_value"),
    ],
)
def test_one_mistake(point: Any, pointer: str, code: str) -> None:
    (problem,) = problems_of([point])

    assert (problem.pointer, problem.code) == (pointer, code)


def test_a_relation_that_a_point_breaks_or_cannot_meet() -> None:
    points = [{"model": {"l1": 8, "l2": 8}}, {"model": {"l1": 8}}]

    (broken,) = problems_of(points, constraints=["model.l2 < model.l1"])
    (impossible,) = problems_of([{"model": {"l1": 4}}], constraints=["model.l2 < model.l1"])

    assert (broken.pointer, broken.code) == ("/search/points/0", "broken_relation")
    assert (impossible.pointer, impossible.code) == ("/search/points/0", "unsatisfiable")


def test_points_that_are_there_twice_and_more_than_trials() -> None:
    found = problems_of([{"lr": 0.1}, {"lr": 0.01}, {"lr": 0.10}], budget={"trials": 2})

    assert {(p.pointer, p.code) for p in found} == {
        ("/search/points/2", "duplicate_point"),
        ("/search/points", "too_many_points"),
    }


def test_all_mistakes_come_at_once_with_their_lines() -> None:
    text = """\
trainable: train:train
metric: {name: loss, goal: min}
parameters:
  lr: {type: float, low: 0.0, high: 1.0}
  l1: {type: int, low: 9, high: 1}
search:
  points:
  - {lr: 2.0, l1: 7}
  - lr: 0.5
    l2: 3
  - {lr: 0.5, l1: 7}
  - {lr: 0.5, l1: 7}
budget: {trials: 9}
"""
    with pytest.raises(InvalidSpec) as refused:
        parse_spec(text)

    assert {problem.pointer: problem.line for problem in refused.value.problems} == {
        "/metric/goal": 2,
        "/parameters/l1/low": 5,
        "/search/points/0/lr": 8,
        "/search/points/1/l2": 10,
    }, "what a broken parameter may be is not known: nothing is said of it"


@given(st.data())
def test_what_the_space_draws_is_a_point_and_comes_back_from_yaml(data: st.DataObject) -> None:
    """Any configuration, whole, in part (without the parents of what is left out), nested, flat or with constants."""
    base = spec([])
    rng = random.Random(data.draw(st.integers(0, 2**32)))
    whole = base.space.sample(rng)
    left_out = data.draw(st.sets(st.sampled_from(sorted(whole.keys() - {"optimizer"})), max_size=5))
    params = {name: value for name, value in whole.items() if name not in left_out}
    config = base.space.config(params)
    point = data.draw(st.sampled_from([config, params, {"model": config["model"], "lr": whole["lr"]}]))

    again = parse_spec(dump_spec(spec([point])))

    assert again == spec([point])
    (read,) = again.search.points
    assert base.space.given(read).items() <= whole.items()


# -- the search


def ask(engine: Search, trials: int) -> list[Params]:
    asked = []
    for number in range(trials):
        params = engine.ask(number)
        if params is None:
            break
        asked.append(params)
    return asked


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_points_come_first_and_in_order(algorithm: str) -> None:
    points = [
        {"lr": 0.03, "optimizer": "adam"},
        {"optimizer": "sgd", "momentum": 0.5, "batch_size": 64},
        {"lr": 0.01, "model": {"l1": 8, "l2": 9}},
    ]

    asked = ask(search(points, algorithm=algorithm), 5)

    for point, params in zip(points, asked, strict=False):
        assert flat(point).items() <= params.items()
        assert ("momentum" in params) == (params["optimizer"] == "sgd"), "what is left out is drawn"
        assert params.keys() >= {"lr", "batch_size", "dropout", "model/l1", "model/l2"}
    assert len(asked) == 5


def test_a_whole_number_is_a_float_where_the_parameter_is() -> None:
    (params,) = ask(search([{"x": 1}], {"x": {"type": "float", "low": 0, "high": 2}}), 1)

    assert repr(params["x"]) == "1.0"


def test_what_a_point_leaves_out_comes_from_the_seed_and_meets_relations() -> None:
    made = spec([{"model": {"l1": 6}}], constraints=["model.l2 < model.l1"])
    one, same = (Search(made.space, "minimize", made.search).ask(0) for _ in range(2))

    assert one == same
    assert one is not None
    assert one["model/l2"] in (4, 5)


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "grid"])
def test_a_finite_space_still_gives_each_configuration_once(algorithm: str) -> None:
    """The first point may be completed to the second; of the third none is left when it comes."""
    points = [{"a": "y"}, {"a": "y", "b": 1}, {"a": "y", "b": 2}, {"a": "y", "b": 3}, {"b": 1}, {"a": "x", "c": 0.2}]

    asked = ask(search(points, FINITE, algorithm), 100)

    assert len(asked) == 12
    assert len({tuple(sorted((k, round(v, 9) if k == "c" else v) for k, v in p.items())) for p in asked}) == 12
    assert {params["a"] for params in asked[:3]} == {"y"}
    assert [params for params in asked if params["a"] == "y"] == asked[:3]
    assert asked[3]["b"] == 1
    assert (asked[4]["a"], asked[4]["c"]) == ("x", 0.2)


def test_points_before_a_restart_are_not_tried_again() -> None:
    points = [{"lr": 0.03}, {"lr": 0.01, "optimizer": "adam"}, {"batch_size": 64}]
    unbroken, again = search(points, algorithm="tpe"), search(points, algorithm="tpe")
    asked = ask(unbroken, 2)

    for number, params in enumerate(asked):
        again.add(number, params)

    assert [again.ask(number) for number in (2, 3)] == [unbroken.ask(number) for number in (2, 3)]
