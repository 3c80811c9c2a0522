"""Label selectors, as Ray writes them: `spot`, `!spot`, `in(a, b)`, `!in(a, b)`."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = r"[a-zA-Z0-9](?:[a-zA-Z0-9_.-]{0,61}[a-zA-Z0-9])?"
_KEY = re.compile(rf"(?:{_NAME}(?:\.{_NAME})*/)?{_NAME}")
_WANTED = re.compile(rf"(!?)(?:in\(({_NAME}(?:, ?{_NAME})*)\)|({_NAME}))")


def wrong_with(key: str, wanted: str) -> str | None:
    """What is wrong with one part of a selector, in words; None where it is in order."""
    if _KEY.fullmatch(key) is None:
        return f"{key!r} is no name of a label: letters, digits, '-', '_' and '.', after a prefix such as ray.io/"
    if _WANTED.fullmatch(wanted) is None:
        return f"{wanted!r} is neither a value nor one of !value, in(a, b), !in(a, b)"
    return None


def accepts(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether a node with these labels suits. One without a label has no value that could be unwanted."""
    return all(_suits(wanted, labels.get(key)) for key, wanted in selector.items())


def read(wanted: str) -> tuple[bool, list[str]]:
    """One part of a selector: whether its values are wanted, and which they are."""
    found = _WANTED.fullmatch(wanted)
    assert found is not None, "validated with the spec"
    unwanted, several, one = found.groups()
    return not unwanted, [one] if one is not None else [name.strip() for name in several.split(",")]


def _suits(wanted: str, value: str | None) -> bool:
    are_wanted, values = read(wanted)
    return (value in values) == are_wanted
