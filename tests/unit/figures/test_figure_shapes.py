"""What figures show of a large sweep, and how curves are thinned."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from tests.unit.figures.figures_help import columns_of

from toprung.figures import progress, rungs, space
from toprung.figures.columns import MOST_COLUMNS
from toprung.figures.decisions import Decisions
from toprung.figures.filters import matching
from toprung.figures.look import PALETTES, compact, robust_range
from toprung.figures.view import MOST_LINES, MOST_POINTS, View
from toprung.tuning.spec import spec_from

SPEC: dict[str, Any] = {
    "trainable": "train:train",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {
        "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
        "batch": {"type": "categorical", "choices": [16, 32]},
    },
    "scheduler": {"type": "asha", "max_t": 27},
    "budget": {"trials": 10_000},
}


def view_of(count: int, **more: Any) -> View:
    rng = np.random.default_rng(0)
    params = [{"lr": float(lr), "batch": 16 * (1 + i % 2)} for i, lr in enumerate(10 ** rng.uniform(-4, 0, count))]
    values = rng.uniform(0.1, 1, count).tolist()
    standing = {"value": values, "step": [27 if i % 9 == 0 else 1 for i in range(count)]} | more
    return View(spec_from(SPEC), columns_of(params, **standing))


def decided(count: int) -> Decisions:
    rows = [(i + 1, i, 1, 1, 0, "stop" if i % 3 else "promote", i / count, 0.3, 1, count, 9, 0.0) for i in range(count)]
    return Decisions.none().with_rows(rows)


def test_large_sweeps_are_sampled_and_say_so() -> None:
    view = view_of(10_000)
    best = int(view.columns.numbers[np.argmin(view.values)])
    of_trials = [
        progress.best(view),
        space.parallel(view),
        space.slice_of(view, "lr"),
        space.contour(view, "lr", "batch"),
    ]

    for figure in [*of_trials, rungs.rungs(view, decided(10_000))]:
        name = figure["layout"]["meta"]["name"]
        shown = max(len(trace.get("customdata", [])) for trace in figure["data"])
        most = MOST_LINES if name == "parallel" else MOST_POINTS
        assert shown <= most, name
        assert figure["layout"]["meta"]["note"].startswith(f"{most:,} of 10,000"), name
        assert len(json.dumps(figure)) < 600_000, name
    for figure in of_trials:
        assert any(best in trace.get("customdata", []) for trace in figure["data"])


@given(at=st.lists(st.tuples(st.sampled_from([1, 3, 9]), st.integers(0, 2), st.integers(0, 9)), max_size=60))
def test_a_cutoff_is_that_of_the_newest_decision_of_its_rung_and_bracket(at: list[tuple[int, int, int]]) -> None:
    rows = [
        (i + 1, i, 1, rung, bracket, "stop", 0.5, float(i), 1, 9, places, 0.0)
        for i, (rung, bracket, places) in enumerate(at)
    ]
    decisions = Decisions.none().with_rows(rows[: len(rows) // 2])
    rungs.rungs(view_of(60), decisions)
    newest = {(rung, bracket): (i, places) for i, (rung, bracket, places) in enumerate(at)}

    figure = rungs.rungs(view_of(60), decisions.with_rows(rows[len(rows) // 2 :]))

    drawn = [trace["y"] for trace in figure["data"] if trace["name"] == "cutoff"]
    assert sorted(value for y in drawn for value in y[1::4]) == sorted(
        float(i) for i, places in newest.values() if places
    )


@pytest.mark.parametrize(
    ("count", "says"),
    [(0, "0"), (999, "999"), (1_000, "1k"), (1_249, "1.2k"), (41_552, "42k"), (139_880, "140k"), (2_000_000, "2M")],
)
def test_counts_below_the_rungs_are_short(count: int, says: str) -> None:
    assert compact(count) == says


def test_curves_are_of_the_best_those_that_run_and_a_sample() -> None:
    states = ["running" if i % 100 == 0 else "pruned" for i in range(10_000)]
    view = view_of(10_000, state=states)

    choice = progress.choose_curves(view)

    chosen = set(choice.numbers(view))
    assert len(chosen) == progress.MOST_CURVES
    assert choice.note == "200 of 10,000 trials"
    assert set(np.argsort(view.values)[:50].tolist()) <= chosen
    assert sum(number % 100 == 0 for number in chosen) >= 50
    assert max(np.diff(sorted(chosen))) < 1_000


def test_curves_of_endless_trials_are_read_in_part() -> None:
    view = view_of(50, step=[1_000_000] * 50)

    choice = progress.choose_curves(view)

    assert len(choice.at) == 1
    assert choice.every == 10
    assert choice.note == "1 of 50 trials, each 10th step"


VALUES = arrays.arrays(np.float64, st.integers(0, 400), elements=st.floats(-1e6, 1e6) | st.just(float("nan")))


@given(values=VALUES, buckets=st.integers(1, 40))
def test_thinned_curves_keep_their_ends_and_extremes(values: Any, buckets: int) -> None:
    steps = np.arange(1.0, len(values) + 1)

    x, y = progress.downsampled(steps, values, buckets)

    there = np.isfinite(values)
    assert len(x) == len(y) <= 2 * buckets + 2
    assert set(zip(x, y, strict=True)) <= set(zip(steps[there], values[there], strict=True))
    assert list(x) == sorted(set(x))
    if there.any():
        assert (y.min(), y.max()) == (values[there].min(), values[there].max())
        assert (x[0], x[-1]) == (steps[there][0], steps[there][-1])


@given(badness=st.lists(st.floats(-100, 100) | st.just(float("inf")), max_size=300), most=st.integers(2, 60))
def test_a_spark_falls_to_the_best(badness: list[float], most: int) -> None:
    points = progress.spark(list(enumerate(badness)), "minimize", most)

    values = [value for _, value in points]
    finite = [value for value in badness if np.isfinite(value)]
    assert len(points) <= most
    assert values == sorted(values, reverse=True)
    assert (points[-1][1] == min(finite)) if finite else points == []


def test_a_choice_of_numbers_has_no_scale() -> None:
    figure = space.parallel(view_of(20))
    (batch,) = [axis for axis in figure["data"][0]["dimensions"] if axis["name"] == "batch"]

    assert batch["ticktext"] == ["16", "32"]
    assert set(batch["values"]) == {0.0, 1.0}


def test_outliers_do_not_squash_the_rest() -> None:
    values = np.array([*np.linspace(0.1, 1, 99), 1e9])

    shown = robust_range(values, False, "minimize")

    assert shown is not None
    assert shown[1] < 2
    assert robust_range(np.linspace(0, 1, 100), False, "minimize") is None


def test_metrics_without_end_are_left_out() -> None:
    columns = columns_of([{"lr": 0.1}] * 300, [{"loss": 1.0, f"m{i}": 1.0} for i in range(300)])

    assert len(columns.metrics) + len(columns.params) == MOST_COLUMNS
    assert columns.left_out == 301 + 1 - MOST_COLUMNS
    assert matching("loss == 1", columns).all()


def contrast(one: str, other: str) -> float:
    """WCAG 2.2's contrast ratio."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("theme", "paper"), [("light", "#ffffff"), ("dark", "#12171d")])
def test_words_can_be_read_and_steps_are_told_apart_by_lightness(theme: Any, paper: str) -> None:
    palette = PALETTES[theme]

    assert min(contrast(colour, paper) for colour in (palette.ink, palette.quiet)) >= 4.5
    assert min(contrast(colour, paper) for colour in (palette.accent, palette.warm)) >= 3
    ramp = [contrast(colour, paper) for colour in palette.ramp]
    assert ramp == sorted(ramp)
    assert all(after / before > 1.15 for before, after in pairwise(ramp))
