"""A sweep's trials as a table: filtered, sorted by any column, a window of it; and as CSV."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from toprung.errors import Malformed, Problem
from toprung.figures.columns import Columns, Indices, Info
from toprung.figures.filters import matching

_ROWS_AT_ONCE = 1_000
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")


def chosen(columns: Columns, names: Sequence[str] | None) -> list[Info]:
    """The columns of these names, `number` first; None: all.

    Raises:
        Malformed: there is none of a name.
    """
    infos = {info.name: info for info in columns.infos}
    if names is None:
        return list(infos.values())
    return [infos[check_name(columns, name, "columns")] for name in dict.fromkeys(("number", *names))]


def check_name(columns: Columns, name: str, parameter: str) -> str:
    """`name`, which is a column's.

    Raises:
        Malformed: it is not.
    """
    if name in columns:
        return name
    close = difflib.get_close_matches(name, list(columns.names()), n=2)
    hint = f"did you mean {' or '.join(close)}?" if close else f"there are {', '.join(list(columns.names())[:12])}"
    message = f"{name[:100]!r} is no column of this sweep"
    problem = Problem(f"/query/{parameter}", "unknown_column", message, hint)
    raise Malformed(f"In {parameter}, {message}; {hint}", problems=[problem])


def ordered(columns: Columns, filter: str, order_by: str, descending: bool) -> Indices:
    """The places of the trials that a filter is true of, sorted: nulls last, equals by their number.

    Raises:
        Malformed: the filter or the column.
    """
    check_name(columns, order_by, "order_by")
    at: Indices = np.flatnonzero(matching(filter, columns))
    if order_by == "number" and not descending:
        return at
    keys = columns[order_by].order()[at]
    # NaN sorts last, also among the negated
    sorted_at: Indices = at[np.argsort(-keys if descending else keys, kind="stable")]
    return sorted_at


def rows(columns: Columns, infos: Sequence[Info], at: Indices) -> list[list[Any]]:
    """The rows of trials at some places."""
    return [list(row) for row in zip(*(columns[info.name].pick(at) for info in infos), strict=True)]


def as_csv(columns: Columns, infos: Sequence[Info], at: Indices) -> Iterator[bytes]:
    """The rows as CSV (RFC 4180), in pieces, with a line of names; empty: null."""
    yield _lines([[info.name for info in infos]])
    for start in range(0, len(at), _ROWS_AT_ONCE):
        yield _lines(rows(columns, infos, at[start : start + _ROWS_AT_ONCE]))


def _lines(rows: Sequence[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([[_cell(value) for value in row] for row in rows])
    return text.getvalue().encode()


def _cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula, whatever a trial has written into a text."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA_STARTS) else value
