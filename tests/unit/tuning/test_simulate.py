"""Whole sweeps in virtual time: the real search and the real scheduler."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from toprung.tuning.records import Action
from toprung.tuning.simulate import Report, ToprungStrategy, simulate
from toprung.tuning.spec import SweepSpec, spec_from


def spec(mode: str = "promote", algorithm: str = "random", **changes: Any) -> SweepSpec:
    return spec_from(
        {
            "trainable": "train:train",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(3)},
            "search": {"algorithm": algorithm, "seed": 0},
            "scheduler": {"type": "asha", "max_t": 27, "mode": mode},
            "budget": {"trials": 81},
            **changes,
        }
    )


def curve(number: int, params: Mapping[str, Any]) -> Sequence[float]:
    """A bowl whose bottom is reached like 1 / step."""
    floor = sum((value - 0.3) ** 2 for value in params.values())
    return [floor + 1 / step for step in range(1, 28)]


def run(spec: SweepSpec, workers: int = 8, **options: Any) -> list[Report]:
    return list(simulate(ToprungStrategy(spec), curve, workers=workers, **options))


@pytest.mark.parametrize("workers", [1, 8, 200])
def test_promotion_halves_successively(workers: int) -> None:
    reached = Counter(report.step for report in run(spec(), workers))

    assert reached[1] == 81
    # ⌊n/3⌋ pass each rung, and at the end those too whose place an earlier one took
    assert 27 <= reached[2] < 54
    assert reached[2] // 3 <= reached[4] < reached[2]
    assert 1 <= reached[27] <= reached[10] < reached[4]


def test_steps_come_in_order_and_once() -> None:
    reports = run(spec())

    for number in {report.number for report in reports}:
        steps = [report.step for report in reports if report.number == number]
        assert steps == list(range(1, len(steps) + 1))
    assert [report.time_s for report in reports] == sorted(report.time_s for report in reports)


def test_no_more_workers_than_there_are() -> None:
    reports = run(spec(), workers=4)

    at_once = Counter(report.time_s for report in reports)
    assert max(at_once.values()) <= 4


def test_the_same_sweep_twice_is_the_same() -> None:
    assert run(spec(algorithm="tpe")) == run(spec(algorithm="tpe"))


def test_a_budget_of_steps_ends_it() -> None:
    reports = run(spec(budget={"wall_time_s": 1}), max_steps=300)

    assert [report.steps for report in reports] == list(range(1, 301))


def test_resuming_and_slow_configurations_cost_virtual_time() -> None:
    fast = run(spec(), workers=1)
    slow = run(spec(), workers=1, step_s=lambda _: 2.0, resume_s=1.0)

    assert slow[-1].time_s > 2 * fast[-1].time_s


def test_tpe_needs_fewer_steps_than_random_search() -> None:
    best = {
        algorithm: min(report.value for report in run(spec(algorithm=algorithm), max_steps=600))
        for algorithm in ("tpe", "random")
    }

    optimum = 1 / 27
    assert best["tpe"] - optimum < 0.5 * (best["random"] - optimum)


def test_the_median_rule_stops_the_worse_half_and_keeps_the_best() -> None:
    reports = run(spec(scheduler={"type": "median", "max_t": 27, "grace_period": 3}))

    finished = {report.number for report in reports if report.step == 27}
    assert 3 <= len(finished) < 81 / 2
    best = min(reports, key=lambda report: report.value)
    assert best.number in finished
    assert sum((x - 0.3) ** 2 for x in best.params.values()) == min(
        sum((x - 0.3) ** 2 for x in report.params.values()) for report in reports
    )


def test_without_early_stopping_all_run_to_the_end() -> None:
    assert len(run(spec(scheduler={"type": "none"}, budget={"trials": 9}))) == 9 * 27


def test_a_trial_that_ends_early_frees_its_worker() -> None:
    """A curve of three steps: the function returned by itself."""
    strategy = ToprungStrategy(spec(budget={"trials": 5}))

    reports = list(simulate(strategy, lambda number, params: [1.0, 0.5, 0.4], workers=2))

    assert {report.number for report in reports} == set(range(5))
    assert math.isclose(min(report.value for report in reports), 0.4)


def test_another_strategy_runs_on_the_same_footing() -> None:
    class EachForTwoSteps:
        def next_trial(self, number: int) -> tuple[int, dict[str, Any]] | None:
            return (number, {"x0": number / 10}) if number < 10 else None

        def report(self, number: int, step: int, value: float, last: bool) -> Action:
            return Action.STOP if step == 2 else Action.PROMOTE

    reports = list(simulate(EachForTwoSteps(), curve, workers=3))

    assert len(reports) == 20
