"""The unit cube behind a search space, where models work."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from toprung.tuning.spec import CategoricalParameter, FloatParameter, IntParameter, SearchSpace

Array = npt.NDArray[np.float64]
Params = dict[str, Any]
"""The active varied parameters of a trial, flat."""


@dataclass(frozen=True)
class _Axis:
    """A parameter's axis: equal lengths are equally likely in the prior."""

    low: float
    high: float
    log: bool
    step: float | None

    @classmethod
    def of(cls, distribution: FloatParameter | IntParameter) -> _Axis:
        whole = isinstance(distribution, IntParameter)
        step = distribution.step or (1 if whole else None)
        half = 0.0 if step is None else step / 2
        # each value of a grid gets the same length, those at the ends too
        low, high = distribution.low - half, distribution.high + half
        if step is not None and not distribution.log:
            high = distribution.low + math.floor((distribution.high - distribution.low) / step + 1e-9) * step + half
        if distribution.log:
            low, high = math.log(low), math.log(high)
        return cls(low, high, distribution.log, step)

    def encode(self, value: float) -> float:
        place = math.log(value) if self.log else value
        return (place - self.low) / (self.high - self.low)

    def decode(self, place: float, distribution: FloatParameter | IntParameter) -> float | int:
        value = self.low + place * (self.high - self.low)
        if self.log:
            value = math.exp(value)
        if self.step is not None:
            # the upper end of the cube lies half a step beyond the last value, which may lie below `high`
            last = math.floor((distribution.high - distribution.low) / self.step + 1e-9)
            index = min(last, max(0, round((value - distribution.low) / self.step)))
            value = distribution.low + index * self.step
        value = min(distribution.high, max(distribution.low, value))
        return round(value) if isinstance(distribution, IntParameter) else float(value)


class Cube:
    """Configurations as points (d,): a number's place in (0, 1), a choice's index, NaN where a parameter isn't active.

    Attributes:
        num_choices: (d,) choices of the categorical parameters, 0 for numbers.
    """

    def __init__(self, space: SearchSpace) -> None:
        self._space = space
        self._axes = [
            None if isinstance(p.distribution, CategoricalParameter) else _Axis.of(p.distribution)
            for p in space.parameters
        ]
        self.num_choices = np.array(
            [
                len(p.distribution.choices) if isinstance(p.distribution, CategoricalParameter) else 0
                for p in space.parameters
            ],
            dtype=np.intp,
        )

    @property
    def dim(self) -> int:
        return len(self._axes)

    def encode(self, params: Mapping[str, Any]) -> Array:
        """The point (d,) of a configuration."""
        point = np.full(self.dim, np.nan)
        for i, (parameter, axis) in enumerate(zip(self._space.parameters, self._axes, strict=True)):
            if parameter.name in params:
                value = params[parameter.name]
                distribution = parameter.distribution
                if isinstance(distribution, CategoricalParameter):
                    point[i] = distribution.choices.index(value)
                else:
                    assert axis is not None
                    point[i] = axis.encode(value)
        return point

    def decode(self, point: Array) -> Params:
        """The configuration at a point (d,) without NaN; what isn't active there is left out."""
        params: Params = {}
        for parameter, axis, place in zip(self._space.parameters, self._axes, point.tolist(), strict=True):
            if not self._space.active(parameter.name, params):
                continue
            distribution = parameter.distribution
            if isinstance(distribution, CategoricalParameter):
                params[parameter.name] = distribution.choices[int(place)]
            else:
                assert axis is not None
                params[parameter.name] = axis.decode(place, distribution)
        return params

    def masked(self, points: Array) -> Array:
        """Points (m, d) with NaN for the parameters that aren't active there."""
        if not any(parameter.when for parameter in self._space.parameters):
            return points
        masked = points.copy()
        names = [parameter.name for parameter in self._space.parameters]
        for i, parameter in enumerate(self._space.parameters):
            for other, allowed in parameter.when.items():
                column = masked[:, names.index(other)]
                masked[~self._has_one_of(names.index(other), column, allowed), i] = np.nan
        return masked

    def _has_one_of(self, axis: int, places: Array, values: Sequence[Any]) -> npt.NDArray[np.bool_]:
        """(m,) whether the parameter of an axis has one of the values at places (m,); not where it isn't active."""
        distribution = self._space.parameters[axis].distribution
        if isinstance(distribution, CategoricalParameter):
            return np.isin(places, [distribution.choices.index(value) for value in values])
        own = self._axes[axis]
        assert own is not None
        return np.array([not math.isnan(at) and own.decode(at, distribution) in values for at in places.tolist()])

    def embed(self, points: Array) -> tuple[Array, npt.NDArray[np.intp]]:
        """Points (n, d) in a Euclidean space, for models of distances: places (n, f) and each feature's axis (f,).

        Two numbers are as far apart as their places, two choices 1, and a parameter that is active and one that isn't
        between √¾ and 1.
        """
        features, axes = [], []
        missing = np.isnan(points)
        for axis, choices in enumerate(self.num_choices.tolist()):
            column, absent = points[:, axis], missing[:, axis]
            if choices:
                own = [np.where(column == choice, math.sqrt(0.5), 0.0) for choice in range(choices)]
            else:
                own = [np.where(absent, 0.5, column)]
            if self._space.parameters[axis].when:
                own.append(np.where(absent, math.sqrt(0.5 if choices else 0.75), 0.0))
            features += own
            axes += [axis] * len(own)
        return np.column_stack(features), np.array(axes, dtype=np.intp)

    def uniform(self, rng: np.random.Generator, count: int) -> Array:
        """Points (count, d) drawn from the prior."""
        points = rng.random((count, self.dim))
        categorical = self.num_choices > 0
        points[:, categorical] = np.floor(points[:, categorical] * self.num_choices[categorical])
        return points
