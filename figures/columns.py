"""A sweep's trials as columns: what figures, tables and filters work on.

A column is either numbers, with NaN for null, or text and the like, with a code into its levels for each trial.
Both are never changed: newer columns share what stayed the same, so that a reader needs no lock.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]
Kind = Literal["number", "text", "state"]
Role = Literal["standing", "metric", "param"]

MOST_COLUMNS = 250
"""Metrics and parameters of a sweep that have a column; a trial that names a metric after itself has one each."""
_MOST_CHARS = 500
"""Of a text in a column; the trial's own record has all of it."""


@dataclass(frozen=True)
class Numbers:
    """A column of numbers."""

    values: Floats
    integral: bool
    """Whether all of them were whole numbers: they are shown as such."""

    @property
    def size_bytes(self) -> int:
        return self.values.nbytes

    def null(self) -> Mask:
        return np.isnan(self.values)

    def order(self) -> Floats:
        """What sorts them; NaN for null."""
        return self.values

    def pick(self, at: Indices) -> list[Any]:
        """Python's values at some places."""
        found = self.values[at]
        missing = np.isnan(found)
        if self.integral and bool(np.all(np.isfinite(found) | missing)):
            whole = np.where(missing, 0, found).astype(np.int64).tolist()
            return [None if no else value for value, no in zip(whole, missing.tolist(), strict=True)]
        return [None if no else value for value, no in zip(found.tolist(), missing.tolist(), strict=True)]

    def with_rows(self, size: int, at: Indices, new: Column | None) -> Column:
        """Grown to `size`, with `new` (None: nulls) at some places."""
        if isinstance(new, Labels):
            return self.as_labels.with_rows(size, at, new)
        values = np.full(size, np.nan)
        values[: len(self.values)] = self.values
        values[at] = np.nan if new is None else new.values
        return Numbers(values, self.integral and (new is None or new.integral))

    @cached_property
    def as_labels(self) -> Labels:
        return labels_of(self.pick(np.arange(len(self.values))))


@dataclass(frozen=True)
class Labels:
    """A column of text, booleans, or values of several kinds."""

    codes: npt.NDArray[np.int32]
    """Place in `levels`; -1: null."""
    levels: list[Any]
    """Only ever grows, so that older columns can share it."""
    index: dict[Any, int]
    """Of each level's `_key`, its place."""

    @property
    def size_bytes(self) -> int:
        return self.codes.nbytes + 100 * len(self.levels)

    def null(self) -> Mask:
        return self.codes < 0

    def order(self) -> Floats:
        """What sorts them; NaN for null."""
        return self._order

    @cached_property
    def _order(self) -> Floats:
        levels = self.levels[:]
        ranks = np.full(len(levels) + 1, np.nan)
        ranks[sorted(range(len(levels)), key=lambda place: _sort_key(levels[place]))] = np.arange(len(levels))
        found: Floats = ranks[self.codes]  # -1 finds the last one
        return found

    def pick(self, at: Indices) -> list[Any]:
        """Python's values at some places."""
        return [None if code < 0 else self.levels[code] for code in self.codes[at].tolist()]

    def with_rows(self, size: int, at: Indices, new: Column | None) -> Column:
        """Grown to `size`, with `new` (None: nulls) at some places."""
        codes = np.full(size, -1, np.int32)
        codes[: len(self.codes)] = self.codes
        fresh = [] if new is None else new.pick(np.arange(len(at)))
        codes[at] = _codes(fresh, self.levels, self.index) if new is not None else -1
        return Labels(codes, self.levels, self.index)


Column = Numbers | Labels


def _sort_key(value: Any) -> tuple[int, Any]:
    if isinstance(value, bool):
        return 0, value
    return (1, value) if isinstance(value, int | float) else (2, str(value))


def _codes(values: Sequence[Any], levels: list[Any], index: dict[Any, int]) -> list[int]:
    """The place of each value in `levels`, which grow by what is new."""
    # all of them texts, as reasons are, each another one: without a call for each
    plain = set(map(type, values)) <= {str, type(None)}
    keys = values if plain else list(map(_key, values))
    for key, value in dict(zip(keys, values, strict=True)).items():
        if key not in index:
            level = _short(value)
            index[key] = -1 if level is None else _place(level, levels, index)
    return [index[key] for key in keys]


def _place(level: Any, levels: list[Any], index: dict[Any, int]) -> int:
    key = _key(level)
    if key not in index:
        index[key] = len(levels)
        levels.append(level)
    return index[key]


def _key(value: Any) -> Any:
    """What tells a value from others: 1, 1.0 and True are equal to Python."""
    return value if value is None or isinstance(value, str) else (type(value), value)


def labels_of(values: Sequence[Any], levels: Sequence[Any] = ()) -> Labels:
    """A column of anything; `levels` come first, in this order."""
    known = list(levels)
    index = {_key(level): place for place, level in enumerate(known)}
    return Labels(np.array(_codes(values, known, index), np.int32), known, index)


def _short(value: Any) -> Any:
    """A value as a level: None for null, no long texts."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return None if math.isnan(value) else value
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _MOST_CHARS else f"{text[: _MOST_CHARS - 1]}…"


def column_of(values: Sequence[Any]) -> Column:
    """A column of numbers where all values are, of labels otherwise."""
    kinds = set(map(type, values))
    if kinds <= {int, float, type(None)}:
        try:
            return Numbers(np.array(values, np.float64), float not in kinds)
        except OverflowError:  # a whole number that no float can hold
            pass
    return labels_of(values)


@dataclass(frozen=True)
class Info:
    """What a column is."""

    name: str
    kind: Kind
    role: Role


@dataclass(frozen=True)
class Columns:
    """The trials of a sweep, sorted by number, at one moment."""

    metrics: Mapping[str, Column]
    params: Mapping[str, Column]
    standing: Mapping[str, Column]
    """Those of `STANDING` but `duration_s`; also `best_step`, `started` and `ended` (seconds since 1970)."""
    left_out: int = 0
    """Metrics and parameters that are too many to have a column."""

    @property
    def numbers(self) -> Floats:
        return self.floats("number")

    def __len__(self) -> int:
        return len(self.numbers)

    @cached_property
    def size_bytes(self) -> int:
        parts = (self.metrics, self.params, self.standing)
        return sum(column.size_bytes for part in parts for column in part.values())

    @cached_property
    def infos(self) -> tuple[Info, ...]:
        """All columns that have a name of their own, in the table's order."""
        found = [Info(name, "state" if name == "state" else self._kind(name), "standing") for name in BEFORE]
        found += [Info(name, self._kind(name), "metric") for name in self._named if name in self._metric_names]
        found += [Info(name, self._kind(name), "param") for name in self._named if name in self._param_names]
        return (*found, *(Info(name, self._kind(name), "standing") for name in AFTER))

    @cached_property
    def _metric_names(self) -> dict[str, str]:
        """The names of columns with metrics; one that a standing or a parameter has gets a prefix."""
        taken = {*STANDING, *self.params}
        return {f"metrics/{name}" if name in taken else name: name for name in self.metrics}

    @cached_property
    def _param_names(self) -> dict[str, str]:
        return {f"params/{name}" if name in STANDING else name: name for name in self.params}

    @cached_property
    def _named(self) -> dict[str, Column]:
        standing = {name: self.standing[name] for name in STANDING if name in self.standing}
        metrics = {name: self.metrics[of] for name, of in self._metric_names.items()}
        return standing | metrics | {name: self.params[of] for name, of in self._param_names.items()}

    def _kind(self, name: str) -> Kind:
        return "number" if name == "duration_s" or isinstance(self._named[name], Numbers) else "text"

    def __contains__(self, name: str) -> bool:
        return name == "duration_s" or name in self._named

    def __getitem__(self, name: str) -> Column:
        return self._duration() if name == "duration_s" else self._named[name]

    def names(self) -> Iterator[str]:
        return (info.name for info in self.infos)

    def param_column(self, param: str) -> str:
        """The name of a parameter's column."""
        return f"params/{param}" if param in STANDING else param

    def metric_of(self, column: str) -> str:
        """The metric in a column; a name that is no column's is a metric's own."""
        return self._metric_names.get(column, column)

    def metric_column(self, metric: str) -> str:
        """The name of a metric's column."""
        return f"metrics/{metric}" if metric in STANDING or metric in self.params else metric

    def floats(self, name: str) -> Floats:
        """A standing of numbers, also one without a name in tables."""
        column = self.standing[name]
        assert isinstance(column, Numbers)
        return column.values

    def _duration(self) -> Numbers:
        """Seconds from the first start to the end, or to now."""
        started, ended = self.floats("started"), self.floats("ended")
        state = self.standing["state"]
        assert isinstance(state, Labels)
        running = state.codes == STATES.index("running")
        return Numbers(np.round(np.where(running & np.isnan(ended), time.time(), ended) - started, 3), False)


BEFORE = ("number", "state", "step", "value")
AFTER = ("attempt", "duration_s", "reason")
STANDING = (*BEFORE, *AFTER)
STATES = ("pending", "running", "paused", "completed", "pruned", "failed", "cancelled")
