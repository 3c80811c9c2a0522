"""What the benchmarks of search make of regrets, and that their contenders are there."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
PLACES = [("near", "a"), ("near", "b")]


@pytest.fixture(autouse=True)
def benchmarks_are_importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(BENCHMARKS))


@pytest.fixture
def regrets() -> Any:
    return importlib.import_module("regrets")


def curves(**last: float) -> dict[tuple[str, str, str], Any]:
    """Four seeds, four marks; all regrets fall from 1 to those at the last mark."""
    fall = np.linspace(1, 0, 4)
    return {(name, *place): np.tile(fall + (1 - fall) * end, (4, 1)) for name, end in last.items() for place in PLACES}


def test_a_contender_that_is_the_baseline_has_ratio_one(regrets: Any) -> None:
    found = curves(ray=0.4, ours=0.4)

    assert regrets.mean_ratio(found, "ours", "ray", PLACES, 1.0) == pytest.approx((1.0, 1.0, 1.0))
    assert regrets.part_to_final(found, "ours", "ray", *PLACES[0]) == 1.0


def test_half_of_the_regret_has_ratio_a_half(regrets: Any) -> None:
    found = curves(ray=0.4, ours=0.2)

    value, low, high = regrets.mean_ratio(found, "ours", "ray", PLACES, 1.0)

    assert value == pytest.approx(0.5, abs=0.01)
    assert low == pytest.approx(value)
    assert high == pytest.approx(value)
    assert regrets.mean_ratio(found, "ours", "ray", PLACES, 0.25)[0] == 1.0


def test_the_interval_holds_the_seeds_spread(regrets: Any) -> None:
    found = curves(ray=0.4, ours=0.4)
    found["ours", *PLACES[0]] = found["ours", *PLACES[0]] * np.array([[0.5], [1.5], [0.5], [1.5]])

    value, low, high = regrets.mean_ratio(found, "ours", "ray", PLACES, 1.0)

    assert low < value - 0.05 < value + 0.05 < high


def test_the_part_until_the_baselines_end_is_found(regrets: Any) -> None:
    assert regrets.part_to_final(curves(ray=0.4, ours=0.0), "ours", "ray", *PLACES[0]) == 0.75
    assert regrets.part_to_final(curves(ray=0.1, ours=0.4), "ours", "ray", *PLACES[0]) == 1.0


@pytest.mark.parametrize("program", ["search_quality", "scaling"])
def test_each_contender_can_be_started(program: str) -> None:
    quality = importlib.import_module("search_quality")

    for contender in importlib.import_module(program).TOPRUNG:
        number, params = quality.strategy(quality.Run(contender, "grace 3, η 3", "curves-branin", 0)).next_trial(0)
        assert number == 0
        assert params

    assert quality.DEFAULT in quality.TOPRUNG
