"""Pages by key, not by offset: rows added meanwhile neither repeat nor hide others."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from toprung.errors import Malformed, Problem
from toprung.tuning.records import Page, Record

T = TypeVar("T", bound=Record)


def encode_cursor(order: str, key: Sequence[Any]) -> str:
    """The place after the row with `key` in the listing ordered by `order`, opaque to the caller."""
    text = json.dumps([order, *key], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, order: str, kinds: tuple[type, ...]) -> tuple[Any, ...]:
    """The key in a cursor.

    Args:
        cursor: what `encode_cursor` gave.
        order: the listing it must come from.
        kinds: the types of the key's parts.

    Raises:
        Malformed: it is no cursor, or one of another listing.
    """
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        found, *key = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, TypeError, RecursionError):
        raise _bad_cursor("is not one that this service gave out") from None
    if found != order or len(key) != len(kinds):
        raise _bad_cursor("belongs to another listing or another order_by")
    if any(type(part) is not kind for part, kind in zip(key, kinds, strict=True)):
        raise _bad_cursor("is not one that this service gave out")
    if any(isinstance(part, int) and not -(2**63) <= part < 2**63 for part in key):
        raise _bad_cursor("is not one that this service gave out")
    return tuple(key)


def page_of(
    rows: Sequence[Any], limit: int, order: str, key: Callable[[Any], Sequence[Any]], record: Callable[[Any], T]
) -> Page[T]:
    """A page from up to `limit + 1` rows; the one too many says that there is a next page."""
    items = [record(row) for row in rows[:limit]]
    more = len(rows) > limit
    return Page(items=items, next_cursor=encode_cursor(order, key(rows[limit - 1])) if more else None)


def _bad_cursor(what: str) -> Malformed:
    message = f"the cursor {what}; pass a page's next_cursor unchanged, or leave it out to start again"
    problem = Problem(pointer="/cursor", code="bad_cursor", message=message)
    return Malformed(f"Query parameter cursor: {message}.", problems=[problem])
