"""How the benchmark of fairness finds what is fair."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


@pytest.fixture
def fair(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("fair_shares")


def test_jains_index(fair: Any) -> None:
    assert fair.jain([2, 2, 2]) == 1
    assert fair.jain([3, 0, 0]) == pytest.approx(1 / 3)


def test_ideal_shares(fair: Any) -> None:
    wishes = {name: fair.Wish(weight, 0, 16, 99) for name, weight in (("a", 1.0), ("b", 2.0), ("c", 1.0))}
    wishes["urgent"] = fair.Wish(1.0, 10, 8, 99)
    everything = dict.fromkeys("abc", 16)
    assert fair.ideal(16, wishes, everything) == pytest.approx({"a": 4, "b": 8, "c": 4})
    assert fair.ideal(16, wishes, everything | {"urgent": 8}) == pytest.approx({"a": 2, "b": 4, "c": 2, "urgent": 8})
    assert fair.ideal(16, wishes, everything | {"b": 2}) == pytest.approx({"a": 7, "b": 2, "c": 7})
    assert fair.ideal(16, wishes, {"a": 3}) == {"a": 3}


def test_running_trials_are_counted(fair: Any) -> None:
    spans = [fair.Span("a", 0.0, 2.0), fair.Span("a", 1.0, 3.0), fair.Span("b", 2.0, 3.0)]
    counts = fair.running(spans, [0.5, 1.5, 2.5])
    assert counts == [{"a": 1, "b": 0}, {"a": 2, "b": 0}, {"a": 1, "b": 1}]
    assert fair.mean(counts) == {"a": pytest.approx(4 / 3), "b": pytest.approx(1 / 3)}
