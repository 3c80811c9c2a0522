"""The live picture and the plain lines."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from tests.unit.cli.cli_help import START, Story, make_spec, make_sweep

from toprung.cli.watching import plain
from toprung.cli.watching.live import render, sections
from toprung.cli.watching.view import SweepView

NOW = START + timedelta(minutes=5)


def busy_view(num_running: int = 3, num_pruned: int = 20, **fields: object) -> SweepView:
    story, view = Story(), SweepView(make_sweep(**fields))
    view.apply(story.sweep("running"))
    for number in range(num_running + num_pruned):
        value = 0.1 + (number * 37 % 100) / 100
        view.apply(story.starts(number))
        view.apply(story.result(number, 1, value, accuracy=1 - value / 2))
        if number >= num_running:
            view.apply(story.decision(number, 1, "stop", seen=num_pruned))
            reason = f"stopped at rung 1: {value:.2f}, cutoff 0.35, rank 7 of 9"
            view.apply(story.trial(number, "pruned", step=1, value=value, best_step=1, reason=reason))
    return view


def lines_of(view: SweepView, width: int = 100, height: int = 30) -> list[str]:
    return render(view, width, height, NOW).plain.split("\n")


def test_what_matters_is_there() -> None:
    text = "\n".join(lines_of(busy_view()))
    assert "digits-cnn  running  20/50 trials" in text
    assert "40%" in text
    assert "best val_loss 0.1000 (trial 0, step 1)" in text
    assert "rung  1 ▏20 seen 0 on  27 ▏0 finished" in text
    assert "rung 1: rank 7 of 20" in text


def test_the_median_rule_has_no_rungs() -> None:
    text = "\n".join(lines_of(busy_view(spec=make_spec(scheduler={"type": "median", "max_t": 27}))))
    assert "rung" not in text
    assert "step 1: rank 7 of 20" in text


def test_running_trials_come_first_then_the_best() -> None:
    found = dict(sections(busy_view(), 12))
    assert [row.number for row in found["running"]] == [0, 1, 2]
    values = [row.value for row in found["best"]]
    assert values == sorted(values, key=lambda value: value or 0)
    assert sum(map(len, found.values())) == 12


def test_many_running_trials_leave_room_for_the_best() -> None:
    found = dict(sections(busy_view(num_running=200), 20))
    assert found["best"]
    assert sum(map(len, found.values())) <= 20


def test_parameters_that_do_not_fit_are_counted() -> None:
    names = {f"a_rather_long_name_{i}": {"type": "float", "low": 0, "high": 1} for i in range(9)}
    view = busy_view(spec=make_spec(parameters=names))
    assert any("+ 9 parameters" in line or "+ 8 parameters" in line for line in lines_of(view, width=80))


@settings(deadline=None)  # a loaded machine is no error
@given(
    width=st.integers(20, 200),
    height=st.integers(5, 60),
    running=st.integers(0, 40),
    pruned=st.integers(0, 40),
)
def test_the_picture_fits_the_terminal(width: int, height: int, running: int, pruned: int) -> None:
    lines = lines_of(busy_view(running, pruned), width, height)
    assert len(lines) <= height
    assert max(map(cell_len, lines)) <= width


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
