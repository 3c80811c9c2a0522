"""Reading a spec: YAML 1.2, every mistake at once, and nothing lost on the way back."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from toprung.errors import InvalidSpec, Malformed, Problem
from toprung.tuning.spec import SweepSpec, dump_spec, json_schema, parse_spec, spec_from

FULL = """
name: digits-cnn
trainable: train:train_digits
code: .
environment: {pip: [einops], env_vars: {GREETING: hello}}
metric: {name: val_loss, goal: minimize, target: 0.05}
parameters:
  lr:         {type: float, low: 1e-4, high: 1e-1, log: true}
  batch_size: {type: categorical, choices: [16, 32]}
  optimizer:  {type: categorical, choices: [sgd, adam]}
  momentum:   {type: float, low: 0.0, high: 0.99, when: {optimizer: sgd}}
  model:
    l1: {type: int, low: 4, high: 256, log: true}
    l2: {type: int, low: 4, high: 256, log: true}
    norm: on
  epochs: 27
constraints: ["model.l2 <= model.l1"]
search:
  algorithm: tpe
  seed: 0
  points: [{lr: 1e-3, optimizer: adam, model: {l1: 64}}, {batch_size: 16}]
  prior: [digits-cnn, swp_01]
scheduler: {type: asha, max_t: 27, grace_period: 1, reduction_factor: 3, brackets: 2, mode: stop}
budget:    {trials: 50, wall_time_s: 7200, gpu_hours: 10}
concurrency: 8
resources: {cpu: 1, gpu: 0.5, accelerator_type: A100, memory_gb: 4}
failures:  {max_retries: 3}
tracking:
  tensorboard: false
  wandb: {project: digits, entity: team, mode: online, tags: [a, b]}
priority: 5
weight: 2.0
"""

SEVEN_MISTAKES = """\
name: Digits CNN
trainable: train
metric: {name: val_loss, goal: min}
parameters:
  lr: {type: float, low: 0.1, high: 1e-4, log: true}
  optimizer: {type: categorical, choices: [sgd, adam]}
  momentum: {type: float, low: 0.0, high: 0.99, when: {optimiser: sgd}}
scheduler: {type: asha, maxt: 27}
budget: {trials: 0}
"""


def minimal(**changes: Any) -> dict[str, Any]:
    return {
        "trainable": "train:train",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "budget": {"trials": 3},
        **changes,
    }


def problems_of(spec: str | dict[str, Any]) -> list[Problem]:
    with pytest.raises(InvalidSpec) as refused:
        parse_spec(spec) if isinstance(spec, str) else spec_from(spec)
    return list(refused.value.problems)


def test_every_field_is_read() -> None:
    spec = parse_spec(FULL)

    assert spec.parameters["lr"].low == 1e-4
    assert spec.parameters["momentum"].when == {"optimizer": ("sgd",)}
    assert spec.parameters["model"]["norm"] == "on", "a word in YAML 1.2"
    assert [parameter.name for parameter in spec.space.parameters] == [
        "lr",
        "batch_size",
        "optimizer",
        "momentum",
        "model/l1",
        "model/l2",
    ]
    assert spec.space.constants == {"model/norm": "on", "epochs": 27}
    assert (spec.metric.target, spec.resources.gpu, spec.failures.max_retries) == (0.05, 0.5, 3)
    assert spec.search.points == ({"lr": 1e-3, "optimizer": "adam", "model": {"l1": 64}}, {"batch_size": 16})
    assert spec.search.prior == ("digits-cnn", "swp_01")
    assert spec.tracking.wandb is not None
    assert spec.tracking.wandb.tags == ("a", "b")


def test_what_is_left_out_has_a_default() -> None:
    spec = spec_from(minimal())

    assert (spec.name, spec.code, spec.concurrency) == (None, None, None)
    assert (spec.search.algorithm, spec.search.seed) == ("auto", None)
    assert spec.scheduler.type == "none"
    assert (spec.resources.cpu, spec.resources.gpu, spec.failures.max_retries) == (1.0, 0.0, 2)
    assert (spec.tracking.tensorboard, spec.tracking.wandb, spec.priority, spec.weight) == (True, None, 0, 1.0)


def test_seven_mistakes_are_told_at_once() -> None:
    found = {problem.pointer: problem for problem in problems_of(SEVEN_MISTAKES)}

    assert {pointer: problem.line for pointer, problem in found.items()} == {
        "/name": 1,
        "/trainable": 2,
        "/metric/goal": 3,
        "/parameters/lr/low": 5,
        "/parameters/momentum/when/optimiser": 7,
        "/scheduler/maxt": 8,
        "/budget/trials": 9,
    }
    assert found["/scheduler/maxt"].hint == "did you mean max_t?"
    assert found["/parameters/momentum/when/optimiser"].hint == "did you mean optimizer?"


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"budget": {}}, "/budget", "no_budget"),
        (
            {"tracking": {"mlflow": {"experiment": "x", "tracking_uri": "https://me:pass@mlflow.example"}}},
            "/tracking/mlflow/tracking_uri",
            "secret",
        ),
        ({"parameters": {}}, "/parameters", "no_parameters"),
        ({"parameters": {"epochs": 3}}, "/parameters", "nothing_varied"),
        ({"parameters": {"a/b": {"type": "int", "low": 0, "high": 1}}}, "/parameters/a~1b", "bad_name"),
        ({"parameters": {"x": {"type": "flaot", "low": 0, "high": 1}}}, "/parameters/x/type", "unknown_type"),
        ({"parameters": {"x": {"type": "float", "high": 1}}}, "/parameters/x/low", "missing_field"),
        ({"parameters": {"x": {"type": "categorical", "choices": []}}}, "/parameters/x/choices", "no_choices"),
        ({"constraints": ["x <"]}, "/constraints/0", "bad_relation"),
        ({"constraints": ["y < x"]}, "/constraints/0", "unknown_parameter"),
        ({"constraints": ["x > 2"]}, "/constraints", "unsatisfiable"),
        ({"search": {"algorithm": "grid"}}, "/parameters/x", "not_finite"),
        (
            {"scheduler": {"type": "asha", "max_t": 2, "grace_period": 3}},
            "/scheduler/grace_period",
            "grace_above_max_t",
        ),
        (
            {"scheduler": {"type": "median", "max_t": 2, "grace_period": 3}},
            "/scheduler/grace_period",
            "grace_above_max_t",
        ),
        ({"scheduler": {"type": "median", "max_t": 2, "mode": "stop"}}, "/scheduler/mode", "unknown_field"),
        ({"scheduler": {"type": "hyperband", "max_t": 2}}, "/scheduler/type", "unknown_type"),
        ({"scheduler": {"type": "asha", "max_t": 9, "brackets": 4}}, "/scheduler/brackets", "too_many_brackets"),
        ({"search": {"prior": "digits"}}, "/search/prior", "invalid_value"),
        ({"search": {"prior": [""]}}, "/search/prior/0", "invalid_value"),
        ({"search": {"points": {"x": 0.5}}}, "/search/points", "invalid_value"),
        ({"resources": {"gpu": 1.5}}, "/resources/gpu", "fractional_gpus"),
        ({"resources": {"cpu": 0}}, "/resources/cpu", "no_resources"),
        ({"resources": {"workers": 2, "gpu": 0.5}}, "/resources/gpu", "shared_gpu"),
        ({"resources": {"workers": 0}}, "/resources/workers", "invalid_value"),
        ({"resources": {"labels": {"ray.io/market-type": "in(spot"}}}, "/resources/labels", "label"),
        ({"resources": {"labels": {"a b": "x"}}}, "/resources/labels", "label"),
        ({"resources": {"labels": {"spot": True}}}, "/resources/labels/spot", "invalid_value"),
        ({"resources": {"gpus": 1}}, "/resources/gpus", "unknown_field"),
        ({"resources": {"ladder": [{"gpu": 1}, {"gpu": 1.5}]}}, "/resources/ladder/1/gpu", "fractional_gpus"),
        ({"resources": {"cpu": 0, "gpu": 1, "ladder": [{"gpu": 0}]}}, "/resources/ladder/0/cpu", "no_resources"),
        ({"resources": {"gpu": 1, "ladder": [{"gpu": 2}, {"gpu": 2.0}]}}, "/resources/ladder/1", "unchanged_step"),
        ({"resources": {"ladder": [{}]}}, "/resources/ladder/0", "unchanged_step"),
        ({"resources": {"ladder": [{"gpus": 1}]}}, "/resources/ladder/0/gpus", "unknown_field"),
        ({"resources": {"ladder": [{"memory_gb": 0}]}}, "/resources/ladder/0/memory_gb", "invalid_value"),
        ({"resources": {"ladder": {"gpu": 1}}}, "/resources/ladder", "invalid_value"),
    ],
)
def test_one_mistake(changes: dict[str, Any], pointer: str, code: str) -> None:
    (problem,) = problems_of(minimal(**changes))

    assert (problem.pointer, problem.code) == (pointer, code)


def test_conditions_may_not_lead_in_a_circle() -> None:
    choice = {"type": "categorical", "choices": ["a", "b"]}
    parameters = {"p": {**choice, "when": {"q": "a"}}, "q": {**choice, "when": {"p": "a"}}}

    assert [problem.code for problem in problems_of(minimal(parameters=parameters))] == ["circular_condition"]


def test_a_condition_names_a_value_that_there_is() -> None:
    parameters = {
        "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
        "momentum": {"type": "float", "low": 0, "high": 1, "when": {"optimizer": "adagrad"}},
    }

    (problem,) = problems_of(minimal(parameters=parameters))

    assert problem.code == "impossible_condition"
    assert problem.hint == "it has sgd, adam"


def test_a_duplicate_key_is_refused_at_its_line() -> None:
    (problem,) = problems_of(FULL.replace("priority: 5", "priority: 5\nname: again"))

    assert (problem.code, problem.pointer) == ("duplicate_key", "/name")
    assert problem.line == FULL.splitlines().index("priority: 5") + 2


@pytest.mark.parametrize("text", ["a: [1", "a: b: c", "\t- x", "--- {}\n--- {}", '{"a": 1,,}'])
def test_what_is_no_yaml_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        parse_spec(text)


@pytest.mark.parametrize("text", ["", "[]", "just words", "3"])
def test_what_is_no_mapping_is_refused(text: str) -> None:
    assert [problem.code for problem in problems_of(text)] == ["not_a_mapping"]


def test_json_is_the_same_spec() -> None:
    assert parse_spec(json.dumps(minimal())) == spec_from(minimal())


def test_a_spec_never_changes() -> None:
    spec = parse_spec(FULL)
    with pytest.raises(ValidationError):
        spec.priority = 1  # type: ignore[misc]
    with pytest.raises(ValidationError):
        spec.metric.name = "other"  # type: ignore[misc]


def test_the_full_spec_comes_back() -> None:
    spec = parse_spec(FULL)

    assert parse_spec(dump_spec(spec)) == spec
    assert SweepSpec.model_validate_json(spec.model_dump_json()) == spec


NAMES = st.text("abcdefgh_", min_size=1, max_size=8).filter(lambda name: not name.startswith("__"))
NUMBERS = st.floats(1e-6, 1e6, allow_nan=False)
CONSTANTS = st.none() | st.booleans() | st.integers(-9, 9) | NUMBERS | st.text(max_size=12) | st.just("1e-4")


@st.composite
def distributions(draw: st.DrawFn) -> dict[str, Any]:
    kind = draw(st.sampled_from(["float", "int", "categorical"]))
    if kind == "categorical":
        choices = draw(st.lists(st.integers(-5, 5) | st.text(max_size=6), min_size=1, max_size=4, unique_by=repr))
        return {"type": kind, "choices": choices}
    low, width = draw(st.integers(1, 1000)), draw(st.integers(1, 1000))
    scale = 1 if kind == "int" else draw(st.sampled_from([1.0, 1e-3, 1e-7]))
    return {"type": kind, "low": low * scale, "high": (low + width) * scale, "log": draw(st.booleans())}


SCHEDULERS = st.one_of(
    st.fixed_dictionaries({"type": st.just("none")}, optional={"max_t": st.integers(1, 99)}),
    st.fixed_dictionaries(
        {"type": st.sampled_from(["asha", "median"]), "max_t": st.integers(9, 99)},
        optional={"grace_period": st.integers(1, 9)},
    ),
)


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    tree = draw(
        st.dictionaries(NAMES, distributions() | CONSTANTS | st.dictionaries(NAMES, distributions(), min_size=1))
    )
    return minimal(
        parameters={**tree, "x": draw(distributions())},
        environment={"env_vars": draw(st.dictionaries(NAMES, st.text(max_size=8), max_size=3))},
        scheduler=draw(SCHEDULERS),
        search={"prior": draw(st.lists(st.text(min_size=1, max_size=9), max_size=3))},
        budget={"trials": draw(st.integers(1, 10**6))},
        priority=draw(st.integers(-1000, 1000)),
    )


@given(specs())
def test_any_spec_comes_back_from_yaml(fields: dict[str, Any]) -> None:
    spec = spec_from(fields)

    assert parse_spec(dump_spec(spec)) == spec


@given(st.text(max_size=200))
def test_no_text_breaks_the_reader(text: str) -> None:
    with pytest.raises((InvalidSpec, Malformed)):
        parse_spec(text)


def test_the_schema_has_every_field() -> None:
    schema = json_schema()

    assert set(schema["properties"]) == set(SweepSpec.model_fields)
    assert set(schema["required"]) == {"trainable", "metric", "parameters"}
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["additionalProperties"] is False


def test_a_ladder() -> None:
    ladder = [{"gpu": 1}, {"gpu": 1, "accelerator_type": "H100", "memory_gb": 32}]
    spec = spec_from(minimal(resources={"cpu": 2, "gpu": 0.5, "memory_gb": 8, "ladder": ladder}))
    assert parse_spec(dump_spec(spec)) == spec
    steps = [spec.resources.at(step) for step in range(3)]
    assert [(step.cpu, step.gpu, step.memory_gb) for step in steps] == [(2, 0.5, 8), (2, 1, 8), (2, 1, 32)]
    assert [step.accelerator_type for step in steps] == [None, None, "H100"]
