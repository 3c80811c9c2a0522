"""Label selectors mean here what they mean to Ray."""

from __future__ import annotations

import pytest
from ray._private.label_utils import validate_label_selector

from toprung.tuning.spec.labels import accepts, wrong_with

KEY = "ray.io/market-type"


@pytest.mark.parametrize(
    ("wanted", "value", "suits"),
    [
        ("spot", "spot", True),
        ("spot", "on-demand", False),
        ("spot", None, False),
        ("!spot", "on-demand", True),
        ("!spot", "spot", False),
        ("!spot", None, True),
        ("in(a, b,c)", "c", True),
        ("in(a,b)", "ab", False),
        ("!in(a,b)", "b", False),
        ("!in(a,b)", None, True),
    ],
)
def test_what_suits(wanted: str, value: str | None, suits: bool) -> None:
    assert accepts({KEY: wanted}, {} if value is None else {KEY: value}) is suits


@pytest.mark.parametrize(
    ("key", "wanted"),
    [
        (KEY, "spot"),
        (KEY, "!in(A100,H100)"),
        ("team", "in(a, b)"),
        (KEY, "in()"),
        (KEY, "-spot"),
        (KEY, "!!spot"),
        (KEY, "in(a,b"),
        (KEY, "a,b"),
        (KEY, "x" * 64),
        ("a b", "x"),
        ("ray.io/", "x"),
        ("a/b/c", "x"),
    ],
)
def test_what_ray_takes_is_taken(key: str, wanted: str) -> None:
    assert (wrong_with(key, wanted) is None) == (validate_label_selector({key: wanted}) is None)
