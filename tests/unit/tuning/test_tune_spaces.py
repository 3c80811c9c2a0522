"""Ray Tune's search spaces and Toprung's own, as a plain Tuner's searcher takes them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray import tune
from ray.tune.search.sample import Domain

from toprung.errors import InvalidSpec
from toprung.tuning import ToprungSearch
from toprung.tuning.tune.spaces import SpecSpace, TuneSpace


class Anything:
    """An object that a choice may be."""


NUMBERS: dict[str, tuple[Domain, set[Any]]] = {
    "randint": (tune.randint(2, 5), {2, 3, 4}),
    "lograndint": (tune.lograndint(1, 5), {1, 2, 3, 4}),
    "qrandint": (tune.qrandint(3, 12, 3), {3, 6, 9, 12}),
    "qrandint, ends off the grid": (tune.qrandint(4, 11, 3), {6, 9}),
    "qrandint, q = 1": (tune.qrandint(1, 4, 1), {1, 2, 3}),
    "qlograndint": (tune.qlograndint(2, 8, 2), {2, 4, 6, 8}),
    "quniform": (tune.quniform(0.1, 0.4, 0.1), {0.1, 0.2, 0.1 * 3, 0.4}),
    "quniform, below 0": (tune.quniform(-1, 1, 0.5), {-1.0, -0.5, 0.0, 0.5, 1.0}),
    "qloguniform": (tune.qloguniform(0.5, 2.0, 0.5), {0.5, 1.0, 1.5, 2.0}),
    "a single value": (tune.randint(3, 4), {3}),
}
OBJECT = Anything()
CHOICES: dict[str, list[Any]] = {
    "scalars": ["sgd", 1, None],
    "equal scalars": [1, 1.0, True],
    "repeated": ["a", "a", "b"],
    "mappings": [{"depth": 1}, {"depth": 2, "wide": [1, 2]}],
    "lists": [[1], [1, 2], (3, 4)],
    "objects": [OBJECT, Anything, len],
    "one": ["only"],
}


def draw(space: TuneSpace | SpecSpace, count: int = 300) -> list[dict[str, Any]]:
    rng = random.Random(0)
    return [space.config(space.space.sample(rng)) for _ in range(count)]


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_have_the_values_that_tune_draws(name: str) -> None:
    domain, values = NUMBERS[name]

    drawn = [config["n"] for config in draw(TuneSpace("", {"n": domain}))]

    assert set(drawn) == values
    assert {type(value) for value in drawn} == {type(domain.sample())}
    assert set(domain.sample(size=300)) <= values, "nothing that Tune draws is missing"


@pytest.mark.parametrize(("domain", "middle"), [(tune.uniform(-2, 4), 1.0), (tune.loguniform(1e-4, 1e-2), 1e-3)])
def test_ranges_and_their_scale(domain: Domain, middle: float) -> None:
    drawn = [config["n"] for config in draw(TuneSpace("", {"n": domain}), 1_000)]

    assert all(domain.lower <= value <= domain.upper for value in drawn)
    assert 0.45 < sum(value < middle for value in drawn) / 1_000 < 0.55


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_may_be_anything(name: str) -> None:
    choices = CHOICES[name]

    drawn = [config["c"] for config in draw(TuneSpace("", {"c": tune.choice(choices)}))]

    assert all(any(value is c or value == c for c in choices) for value in drawn)
    for choice in choices:
        assert any(value == choice or type(value) is type(choice) for value in drawn)


def test_domains_lie_anywhere_in_the_config() -> None:
    config = {
        "model": {"l1": tune.randint(1, 3), "kind": "mlp"},
        "layers": [tune.choice([8]), 16],
        "pair": (1, tune.choice(["b"])),
        "epochs": 9,
    }

    drawn = draw(TuneSpace("", config), 1)[0]

    assert drawn.pop("model") in ({"l1": 1, "kind": "mlp"}, {"l1": 2, "kind": "mlp"})
    assert drawn == {"layers": [8, 16], "pair": (1, "b")}, "Tune adds the constants"


DOMAINS: st.SearchStrategy[Domain] = st.one_of(
    st.builds(lambda low, more: tune.uniform(low, low + more), st.floats(-9, 9), st.floats(0.1, 9)),
    st.builds(lambda low, more: tune.loguniform(low, low * more), st.floats(1e-6, 9), st.floats(1.1, 1e6)),
    st.builds(lambda low, more: tune.randint(low, low + more), st.integers(-99, 99), st.integers(1, 99)),
    st.builds(lambda low, more: tune.lograndint(low, low + more), st.integers(1, 99), st.integers(1, 999)),
    st.builds(lambda q, k, n: tune.quniform(q * k, q * (k + n), q), st.sampled_from([0.1, 0.25, 3]),
              st.integers(-9, 9), st.integers(1, 9)),
    st.builds(lambda q, k, n: tune.qlograndint(q * k, q * (k + n), q), st.integers(2, 5), st.integers(1, 9),
              st.integers(1, 9)),
    st.builds(tune.choice, st.lists(st.one_of(st.integers(), st.text(), st.lists(st.integers())), min_size=1)),
)  # fmt: skip


@given(domains=st.dictionaries(st.text(min_size=1), DOMAINS, min_size=1, max_size=4), seed=st.integers(0, 99))
def test_every_proposal_is_of_the_domain_and_leads_back_to_itself(domains: dict[str, Domain], seed: int) -> None:
    space = TuneSpace("", domains)
    params = space.space.sample(random.Random(seed))

    config = space.config(params)

    for name, domain in domains.items():
        assert domain.is_valid(config[name]) or math.isclose(config[name], domain.upper)
    assert space.config(space.params(config)) == config


def test_all_domains_that_cannot_be_searched_are_named_with_a_remedy() -> None:
    with pytest.raises(InvalidSpec) as caught:
        ToprungSearch(
            {
                "fine": tune.uniform(0, 1),
                "normal": tune.randn(0, 1),
                "group": {"derived": tune.sample_from(lambda config: config["fine"])},
                "walked": tune.grid_search([1, 2]),
                "nested": tune.choice([{"a": tune.uniform(0, 1)}]),
                "upside down": tune.uniform(1, 0),
            }
        )

    lines = str(caught.value).splitlines()
    assert lines[0] == "ToprungSearch can't take this:"
    remedies = {line.split(":")[0].strip(): line for line in lines[1:]}
    assert set(remedies) == {
        "space/normal", "space/group/derived", "space/walked", "space/nested", "space/upside down"
    }  # fmt: skip
    for name, remedy in {
        "normal": "give a range, as tune.uniform(low, high)",
        "group/derived": "put it into the Tuner's param_space",
        "walked": "ToprungSearch(algorithm='grid')",
        "nested": "`when`",
        "upside down": "low (1) must be below high (0)",
    }.items():
        assert remedy in remedies[f"space/{name}"]


def test_a_space_without_anything_to_vary_is_refused() -> None:
    with pytest.raises(InvalidSpec, match="nothing is varied"):
        ToprungSearch().set_search_properties("loss", "min", {"epochs": 9})


# -- Toprung's own form ----------------------------------------------------------------------------------------------

OWN: dict[str, Any] = {
    "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
    "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": "sgd"}},
    "model": {"l1": {"type": "int", "low": 4, "high": 64}, "l2": {"type": "int", "low": 4, "high": 64}},
    "epochs": 9,
}


def own(**arguments: Any) -> ToprungSearch:
    return ToprungSearch(OWN, seed=0, metric="loss", mode="min", constraints=["model.l2 <= model.l1"], **arguments)


def test_conditions_and_relations_hold() -> None:
    search = own()
    for number in range(40):
        config = search.suggest(str(number))
        assert config["epochs"] == 9
        assert ("momentum" in config) == (config["optimizer"] == "sgd")
        assert config["model"]["l2"] <= config["model"]["l1"]


def test_points_of_toprungs_own_form() -> None:
    point = {"optimizer": "adam", "model": {"l1": 8, "l2": 4}}
    assert own(points_to_evaluate=[point]).suggest("t") == {**point, "epochs": 9}


@pytest.mark.parametrize(
    ("point", "problem"),
    [
        ({"optimizer": "sgd", "model": {"l1": 8, "l2": 4}}, "momentum is missing"),
        ({"optimizer": "lion", "model": {"l1": 8, "l2": 4}}, "optimizer can't be 'lion'"),
        ({"optimizer": "adam", "model": {"l1": 8, "l2": 80}}, "model/l2 can't be 80"),
        ({"optimizer": "adam", "model": {"l1": 4, "l2": 8}}, "it does not meet the constraints"),
    ],
)
def test_points_are_checked(point: dict[str, Any], problem: str) -> None:
    with pytest.raises(InvalidSpec, match=f"points_to_evaluate/0: {problem}"):
        own(points_to_evaluate=[point])


def test_a_space_is_checked_as_in_a_file() -> None:
    space = {"x": {"type": "float", "low": 1, "high": 0}, "y": {"type": "flaot", "low": 0, "high": 1}}
    with pytest.raises(InvalidSpec) as caught:
        ToprungSearch(space, constraints=["x < z"])
    text = str(caught.value)
    assert "space/x/low: low (1) must be below high (0)" in text
    assert "space/y/type: 'flaot' is not a type known here (did you mean float?)" in text
    assert "constraints/0: refers to z, which is not a parameter" in text


def test_a_tuner_may_add_constants_but_no_second_space() -> None:
    assert own().set_search_properties("loss", "min", {"data": "digits"})
    assert not own().set_search_properties("loss", "min", {"lr": tune.uniform(0, 1)})


@pytest.mark.parametrize("mode", ["min", "max"])
def test_the_mode_says_what_is_better(mode: str) -> None:
    def mean(late: list[float]) -> float:
        return sum(late) / len(late)

    ask: Callable[[ToprungSearch, str], float] = lambda search, name: float(search.suggest(name)["x"])  # noqa: E731
    search = ToprungSearch({"x": tune.uniform(0, 1)}, seed=0, metric="loss", mode=mode)
    for number in range(40):
        x = ask(search, f"t{number}")
        search.on_trial_complete(f"t{number}", {"training_iteration": 1, "loss": x})

    late = mean([ask(search, f"s{number}") for number in range(20)])
    assert late < 0.35 if mode == "min" else late > 0.65
