"""Curves as text, the lines above the table, its columns, and the plain lines."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from tests.unit.cli.cli_help import START, Story, config, make_spec, make_sweep

from toprung.cli.watching import plain
from toprung.cli.watching.chart import Curve, chart
from toprung.cli.watching.head import Pace, head
from toprung.cli.watching.table import columns
from toprung.cli.watching.view import SweepView
from toprung.tuning.records import Rung, Sweep, Trial

NOW = START + timedelta(minutes=5)
RUNGS = [Rung(rung=1, seen=20, promoted=7, stopped=13), Rung(rung=9, seen=7, promoted=2, stopped=5)]
POINTS = st.lists(st.tuples(st.integers(1, 10_000), st.floats(allow_nan=True)), max_size=40)


def busy(**fields: object) -> Sweep:
    trials = {"running": 3, "pruned": 19, "completed": 1}
    best = {"number": 0, "step": 1, "value": 0.1}
    return make_sweep(**({"state": "running", "trials": trials, "best": best, "started_at": START} | fields))


def make_trial(number: int, **fields: object) -> Trial:
    given = config(number)
    params = {name: given[name] for name in ("lr", "batch_size", "optimizer")}
    plain = {"sweep_id": "swp_1", "number": number, "state": "running", "params": params, "config": given}
    return Trial.model_validate(plain | {"created_at": START} | fields)


def test_what_matters_is_in_the_head() -> None:
    text = head(busy(), RUNGS, 90, 100, NOW).plain
    assert "digits-cnn  running  20/50 trials" in text
    assert "40%  5 min, 2 min left" in text
    assert "best val_loss 0.1000 (trial 0, step 1)  3 running  19 pruned" in text
    assert "rung  1 ▏20 seen 7 on  9 ▏7 seen 2 on  27 ▏1 finished" in text


def test_the_median_rule_has_no_rungs() -> None:
    spec = make_spec(scheduler={"type": "median", "max_t": 27})
    assert "rung" not in head(busy(spec=spec), RUNGS, None, 100, NOW).plain


@given(width=st.integers(1, 200))
def test_the_head_fits_the_terminal(width: int) -> None:
    assert max(map(cell_len, head(busy(), RUNGS, 90, width, NOW).plain.split("\n"))) <= width


def test_the_time_left_is_by_the_last_two_minutes() -> None:
    pace, sweep = Pace(), busy(trials={"pruned": 10})
    pace.note(sweep, NOW)
    assert pace.left_s(sweep, NOW) == 40 / (10 / 300)  # nothing seen yet: since its start
    faster = busy(trials={"pruned": 40})
    assert pace.left_s(faster, NOW + timedelta(seconds=60)) == 10 / (30 / 60)
    assert pace.left_s(busy(state="cancelled"), NOW) is None


def test_the_wall_time_bounds_the_time_left() -> None:
    sweep = busy(spec=make_spec(budget={"wall_time_s": 400}), num_trials=None)
    assert Pace().left_s(sweep, NOW) == 100


def test_parameters_that_do_not_fit_are_counted() -> None:
    names = {f"a_rather_long_name_{i}": {"type": "float", "low": 0, "high": 1} for i in range(9)}
    found = columns(busy(spec=make_spec(parameters=names)), [make_trial(0)], {}, 80)
    assert found[-1].title in ("+ 8 columns", "+ 7 columns")


@given(width=st.integers(60, 250), number=st.integers(1, 9))
def test_the_table_fits_the_terminal(width: int, number: int) -> None:
    trials = [make_trial(i, metrics={"val_loss": 0.1, "accuracy": 0.9}, value=0.1) for i in range(number)]
    assert sum(column.width for column in columns(busy(), trials, {0: [0.3, 0.2]}, width)) <= width


def test_a_curve_goes_from_corner_to_corner() -> None:
    drawn = chart([Curve("trial 3", "", [(1, 1.0), (9, 0.5)])], 40, 6).plain.split("\n")
    assert (drawn[0][0:8], drawn[-3][0:8]) == ("     1 ▏", "0.5000 ▏")
    assert drawn[-2].split() == ["step", "1", "9"]
    assert drawn[-1] == "━ trial 3"


def test_values_far_apart_are_drawn_by_their_logarithm() -> None:
    assert " log " in chart([Curve("a", "", [(1, 100.0), (2, 0.1)])], 60, 8).plain
    assert " log " not in chart([Curve("a", "", [(1, 100.0), (2, -0.1)])], 60, 8).plain


@settings(deadline=None)
@given(curves=st.lists(POINTS, max_size=4), width=st.integers(0, 120), height=st.integers(0, 30))
def test_curves_fit_whatever_was_reported(curves: list[list[tuple[int, float]]], width: int, height: int) -> None:
    named = [Curve(f"trial {i}", "", sorted(points)) for i, points in enumerate(curves)]
    lines = chart(named, width, height).plain.split("\n")
    assert len(lines) <= max(1, height)
    assert max(map(cell_len, lines)) <= max(width, 0)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda s: [s.sweep("running")], "digits-cnn: running"),
        (lambda s: [s.starts(0), s.result(0, 2, 0.25)], "digits-cnn: best val_loss 0.2500 (trial 0, step 2)"),
        (
            lambda s: [s.starts(3), s.trial(3, "failed", step=4, failure={"message": "ValueError: no"})],
            "digits-cnn: [1/50] trial 3 failed at step 4: ValueError: no",
        ),
        (
            lambda s: [s.starts(3), s.trial(3, "pruned", step=1, reason="stopped at rung 1: 0.41")],
            "digits-cnn: [1/50] trial 3 pruned at step 1: at rung 1: 0.41",
        ),
        (lambda s: [s.event("warning", message="W&B is away")], "digits-cnn: warning: W&B is away"),
    ],
)
def test_plain_lines(make, expected: str) -> None:  # type: ignore[no-untyped-def]  # a lambda's type says less
    view, told = SweepView(make_sweep()), []
    for event in make(Story()):
        told += [plain.line(view, change) for change in view.apply(event)]
    assert told == [expected]
