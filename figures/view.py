"""What all figures of a sweep are made from."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import dataclass
from functools import cached_property
from typing import NoReturn

import numpy as np

from toprung.errors import Malformed, Problem
from toprung.figures.columns import Columns, Floats, Indices, Labels, Mask, Numbers
from toprung.figures.filters import matching
from toprung.figures.look import PALETTES, Palette, Theme
from toprung.figures.table import check_name
from toprung.tuning.spec import SweepSpec
from toprung.tuning.spec.parameters import CategoricalParameter, Distribution

MOST_POINTS = 1_000
"""Trials that a figure shows as points: more can't be told apart, and a browser draws some 20 in a millisecond."""
MOST_LINES = 2_000
"""Trials that a figure shows as lines from axis to axis, which the browser's graphics draw."""


@dataclass(frozen=True)
class View:
    """A sweep's trials, and how somebody wants to see them."""

    spec: SweepSpec
    columns: Columns
    filter: str = ""
    metric: str | None = None
    """None: the sweep's objective."""
    log: frozenset[str] | None = None
    """The axes that are logarithmic, of x and y; None: those of parameters that the spec has so."""
    theme: Theme = "light"

    @property
    def palette(self) -> Palette:
        return PALETTES[self.theme]

    @property
    def goal(self) -> str:
        return self.spec.metric.goal

    @property
    def is_objective(self) -> bool:
        return self.metric_name == self.spec.metric.name

    @property
    def metric_name(self) -> str:
        return self.columns.metric_of(self.metric) if self.metric else self.spec.metric.name

    @cached_property
    def mask(self) -> Mask:
        """The trials that the filter leaves.

        Raises:
            Malformed: it can't be read.
        """
        return matching(self.filter, self.columns)

    @cached_property
    def values(self) -> Floats:
        """The metric of each trial: the best of the objective, the last of another one.

        Raises:
            Malformed: no trial reports such a metric, or it is no number.
        """
        if self.is_objective:
            return self.columns.floats("value")
        name = self.columns.metric_column(self.metric_name)
        if self.metric_name not in self.columns.metrics:
            close = difflib.get_close_matches(self.metric_name, list(self.columns.metrics), n=2)
            known = ", ".join(list(self.columns.metrics)[:12]) or "none yet"
            hint = f"did you mean {' or '.join(close)}?" if close else f"there are {known}"
            self._refuse("metric", f"no trial reports {self.metric_name[:100]!r}", hint)
        column = self.columns[name]
        if not isinstance(column, Numbers):
            self._refuse("metric", f"{self.metric_name[:100]!r} is no number", "choose another one")
        return column.values

    @cached_property
    def badness(self) -> Floats:
        """The objective so that less is better; NaN for none, and for trials that failed."""
        value = self.columns.floats("value")
        state = self.columns.standing["state"]
        assert isinstance(state, Labels)
        failed = state.codes == state.index["failed"]
        return np.where(failed, np.nan, value if self.goal == "minimize" else -value)

    def is_log(self, axis: str, default: bool = False) -> bool:
        return default if self.log is None else axis in self.log

    def chosen(self, among: Mask, most: int = MOST_POINTS) -> tuple[Indices, str | None]:
        """The places of at most so many trials: the best half, and an even sample of the others.

        Returns:
            They, by number, and what to say where some are left out.
        """
        at = np.flatnonzero(among)
        if len(at) <= most:
            return at, self._left_by_filter(len(at))
        best = at[np.argsort(self.badness[at], kind="stable")[: most // 2]]
        others = np.setdiff1d(at, best, assume_unique=True)
        sample = others[np.linspace(0, len(others) - 1, most - len(best)).round().astype(np.intp)]
        return np.union1d(best, sample), f"{most:,} of {len(at):,} trials: the best, and a sample of the others"

    def _left_by_filter(self, count: int) -> str | None:
        return f"{count:,} of {len(self.columns):,} trials" if self.filter.strip() else None

    def distribution(self, column: str) -> Distribution | None:
        """Of the parameter in a column; None where it is none of the spec's."""
        params = {self.columns.param_column(p.name): p.distribution for p in self.spec.space.parameters}
        return params.get(column)

    def is_log_column(self, column: str) -> bool:
        """Whether the spec draws it uniformly in its logarithm."""
        found = self.distribution(column)
        return found is not None and not isinstance(found, CategoricalParameter) and found.log

    @cached_property
    def params(self) -> list[str]:
        """The columns of the spec's parameters that trials have."""
        names = [self.columns.param_column(p.name) for p in self.spec.space.parameters]
        return [name for name in names if name in self.columns]

    def parameter(self, name: str | None, query: str, taken: Collection[str] = ()) -> str | None:
        """The column that a query names, or the first that is not taken; None where there is none.

        Raises:
            Malformed: there is no such column, or it is taken.
        """
        if name is not None:
            column = self.columns.param_column(name) if name in self.spec_names else name
            if column in taken:
                self._refuse(query, f"{name[:100]!r} is the other parameter too", "choose two", "bad_parameter")
            return check_name(self.columns, column, query)
        return next((param for param in self.params if param not in taken), None)

    @cached_property
    def spec_names(self) -> set[str]:
        return {p.name for p in self.spec.space.parameters}

    def nothing(self) -> str:
        """Why a figure of its values is empty, and what would change that."""
        if not len(self.columns):
            return "No trial yet: the first ones come when the sweep runs."
        if self.filter.strip() and not self.mask.any():
            return "The filter leaves no trial."
        return f"No trial{' of these' if self.filter.strip() else ''} has reported {self.metric_name} yet."

    def _refuse(self, parameter: str, message: str, hint: str, code: str = "unknown_column") -> NoReturn:
        problem = Problem(f"/query/{parameter}", code, message, hint)
        raise Malformed(f"In {parameter}, {message}; {hint}", problems=[problem])
