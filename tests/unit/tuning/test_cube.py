"""The unit cube behind a space: what is active at a point, and distances between points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toprung.tuning.search.cube import Cube
from toprung.tuning.spec import spec_from

SPEC = spec_from(
    {
        "trainable": "train:train",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {
            "optimizer": {"type": "categorical", "choices": ["sgd", "adam", "rmsprop"]},
            "momentum": {"type": "float", "low": 0.0, "high": 0.99, "when": {"optimizer": ["sgd", "rmsprop"]}},
            "schedule": {"type": "categorical", "choices": ["none", "step"], "when": {"optimizer": "sgd"}},
            "layers": {"type": "int", "low": 1, "high": 4},
            "dropout": {"type": "float", "low": 0.0, "high": 0.5, "when": {"layers": [3, 4]}},
            "gamma": {"type": "float", "low": 0.1, "high": 0.9, "when": {"schedule": "step"}},
        },
        "budget": {"trials": 1},
    }
)
CUBE = Cube(SPEC.space)
NAMES = [parameter.name for parameter in SPEC.space.parameters]


@given(seed=st.integers(0, 2**32 - 1))
def test_masked_points_lack_what_their_configuration_lacks(seed: int) -> None:
    points = CUBE.uniform(np.random.default_rng(seed), 20)

    masked = CUBE.masked(points)

    for point, row in zip(points, masked, strict=True):
        active = set(CUBE.decode(point))
        assert {name for name, place in zip(NAMES, row, strict=True) if not np.isnan(place)} == active


def test_a_space_without_conditions_is_not_masked() -> None:
    plain = spec_from(
        {
            "trainable": "train:train",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
            "budget": {"trials": 1},
        }
    )
    points = np.array([[0.25], [0.75]])

    assert np.array_equal(Cube(plain.space).masked(points), points)


def squared_distance(axis: str, one: float, other: float) -> float:
    points = np.full((2, CUBE.dim), np.nan)
    points[:, NAMES.index("optimizer")] = 0
    points[:, NAMES.index("layers")] = 0.5
    points[:, NAMES.index(axis)] = one, other
    places, axes = CUBE.embed(points)
    assert axes.tolist() == sorted(axes.tolist())
    assert set(axes.tolist()) == set(range(CUBE.dim))
    return float(((places[0] - places[1]) ** 2).sum())


@pytest.mark.parametrize(
    ("axis", "one", "other", "squared"),
    [
        ("layers", 0.2, 0.5, 0.09),
        ("optimizer", 0, 2, 1.0),
        ("optimizer", 1, 1, 0.0),
        ("schedule", 0, 1, 1.0),
        ("schedule", 0, np.nan, 1.0),
        ("momentum", 0.5, np.nan, 0.75),
        ("momentum", 0.0, np.nan, 1.0),
        ("momentum", np.nan, np.nan, 0.0),
    ],
)
def test_distances(axis: str, one: float, other: float, squared: float) -> None:
    assert squared_distance(axis, one, other) == pytest.approx(squared)
