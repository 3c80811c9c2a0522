"""Numbers and times in words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toprung.cli.words import bar, duration, flat, number, plural, short_reason, sparkline


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, "–"),
        (3, "3"),
        (True, "True"),
        ("adam", "adam"),
        (0.083123, "0.0831"),
        (1.23456, "1.235"),
        (0.00031, "3.10e-4"),
        (123456.0, "123456"),
        (12345678.0, "1.23e7"),
        (0.0, "0"),
    ],
)
def test_number(value: object, expected: str) -> None:
    assert number(value) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0, "0 s"), (48, "48 s"), (360, "6 min"), (7500, "2 h 05 min"), (270_000, "3 d 3 h"), (3599, "1 h 00 min")],
)
def test_duration(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


@settings(deadline=None)
@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), max_size=40), st.integers(1, 20))
def test_sparkline_is_as_long_as_its_values(values: list[float], width: int) -> None:
    assert len(sparkline(values, width)) <= min(width, len(values))


def test_sparkline_shows_the_direction() -> None:
    assert sparkline([1.0, 2.0, 3.0]) == "▁▅█"
    assert sparkline([5.0, 5.0]) == "▁▁"


@settings(deadline=None)
@given(st.floats(-1, 2), st.integers(0, 100))
def test_bar_keeps_its_width(done: float, width: int) -> None:
    assert sum(map(len, bar(done, width))) == width


def test_plural_and_flat() -> None:
    assert [plural(count, "trial") for count in (0, 1, 1350)] == ["0 trials", "1 trial", "1,350 trials"]
    assert flat({"a": {"b": {"c": 1}}, "d": 2}) == {"a/b/c": 1, "d": 2}


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("stopped at rung 3: 0.41, cutoff 0.35, rank 7 of 9, the best 3 go on", "rung 3: rank 7 of 9"),
        ("stopped at step 4: best 0.9, median 0.4 of the averages of 5 others, rank 6 of 6", "step 4: rank 6 of 6"),
        ("the sweep ended", "the sweep ended"),
        (None, ""),
    ],
)
def test_a_reason_in_a_table(reason: str | None, expected: str) -> None:
    assert short_reason(reason) == expected
