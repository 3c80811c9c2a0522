"""The space of configurations that a spec describes, flattened."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any

from toprung.errors import InvalidSpec, Problem
from toprung.tuning.spec.parameters import (
    CategoricalParameter,
    Distribution,
    FloatParameter,
    IntParameter,
    Scalar,
)
from toprung.tuning.spec.relations import Relation

_TRIES = 10_000
_COUNTABLE = 100_000


@dataclass(frozen=True)
class Parameter:
    """A varied parameter.

    Attributes:
        name: its path in the config, joined by "/".
        distribution: what it is drawn from.
        when: full name of another parameter -> values it must have for this one to exist.
    """

    name: str
    distribution: Distribution
    when: Mapping[str, tuple[Scalar, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchSpace:
    """Parameters in an order in which conditions come after what they refer to; constants; relations."""

    parameters: tuple[Parameter, ...]
    constants: Mapping[str, Any] = field(default_factory=dict)
    relations: tuple[Relation, ...] = ()

    def active(self, name: str, params: Mapping[str, Any]) -> bool:
        """Whether a parameter exists, given the values of those before it."""
        return _active(self._by_name[name], params)

    @cached_property
    def _by_name(self) -> dict[str, Parameter]:
        return {parameter.name: parameter for parameter in self.parameters}

    def satisfied(self, params: Mapping[str, Any]) -> bool:
        """Whether all relations hold."""
        if not self.relations:
            return True
        values = {**self.constants, **params}
        return all(relation.holds(values) for relation in self.relations)

    def config(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """What the trainable is called with: constants and active parameters, nested as in the spec."""
        config: dict[str, Any] = {}
        for name, value in {**self.constants, **params}.items():
            *groups, leaf = name.split("/")
            place = config
            for group in groups:
                place = place.setdefault(group, {})
            place[leaf] = value
        return config

    def given(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The varied parameters in a configuration, or in a part of one, each value as the space itself has it."""
        values = flat(config)
        return {p.name: as_drawn(p.distribution, values[p.name]) for p in self.parameters if p.name in values}

    def sample(self, rng: random.Random, given: Mapping[str, Any] = MappingProxyType({})) -> dict[str, Any]:
        """A configuration drawn at random that meets the relations, with the `given` values where they are active.

        Raises:
            InvalidSpec: none was found in 10,000 draws.
        """
        for _ in range(_TRIES):
            params = self._draw(rng, given)
            if self.satisfied(params):
                return params
        detail = f"no configuration that meets the constraints was found in {_TRIES:,} random draws"
        raise InvalidSpec(detail, problems=[Problem("/constraints", "unsatisfiable", detail)])

    def satisfiable(self, given: Mapping[str, Any] = MappingProxyType({}), draws: int = 2_000) -> bool:
        """Whether a few random draws find a configuration that meets the relations."""
        rng = random.Random(0)
        return not self.relations or any(self.satisfied(self._draw(rng, given)) for _ in range(draws))

    def grid(self) -> Iterator[dict[str, Any]]:
        """Every configuration of a finite space once, in the spec's order."""
        yield from (params for params in self._walk(0, {}) if self.satisfied(params))

    def size(self) -> int | None:
        """How many configurations there are; None where that is infinite or too many to count."""
        counts = [len(values) if (values := _values(p.distribution)) is not None else None for p in self.parameters]
        if any(count is None for count in counts):
            return None
        product = math.prod(count for count in counts if count is not None)
        if product > _COUNTABLE:
            return None
        if not self.relations and not any(p.when for p in self.parameters):
            return product
        return sum(1 for _ in self.grid())

    def _walk(self, index: int, params: dict[str, Any]) -> Iterator[dict[str, Any]]:
        if index == len(self.parameters):
            yield dict(params)
            return
        parameter = self.parameters[index]
        if not _active(parameter, params):
            yield from self._walk(index + 1, params)
            return
        values = _values(parameter.distribution)
        assert values is not None, "the spec was checked: a grid's parameters are finite"
        for value in values:
            yield from self._walk(index + 1, {**params, parameter.name: value})

    def _draw(self, rng: random.Random, given: Mapping[str, Any]) -> dict[str, Any]:
        params: dict[str, Any] = {}
        for parameter in self.parameters:
            if _active(parameter, params):
                name = parameter.name
                params[name] = given[name] if name in given else draw(parameter.distribution, rng)
        return params


def _active(parameter: Parameter, params: Mapping[str, Any]) -> bool:
    return all(name in params and params[name] in values for name, values in parameter.when.items())


def flat(config: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a nested configuration by their full names, joined by "/"."""
    values: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            values |= {f"{name}/{inner}": deep for inner, deep in flat(value).items()}
        else:
            values[str(name)] = value
    return values


def finite(distribution: Distribution) -> bool:
    """Whether a distribution has countably few values, so that a grid can walk them."""
    return _values(distribution) is not None


def _values(distribution: Distribution) -> tuple[Scalar, ...] | range | list[float] | None:
    match distribution:
        case CategoricalParameter(choices=choices):
            return choices
        case IntParameter(low=low, high=high, step=step):
            return range(low, high + 1, step or 1)
        case FloatParameter(low=low, high=high, step=float(step)):
            return [low + i * step for i in range(_steps(low, high, step) + 1)]
        case _:
            return None


def _steps(low: float, high: float, step: float) -> int:
    return math.floor((high - low) / step + 1e-9)


def allows(distribution: Distribution, value: Any) -> bool:
    """Whether a parameter can have a value."""
    if isinstance(distribution, CategoricalParameter):
        return value in distribution.choices
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    if isinstance(distribution, IntParameter) and not isinstance(value, int):
        return False
    if not distribution.low <= value <= distribution.high:
        return False
    # log excludes a step but 1, which whole numbers have anyway
    steps = 0.0 if distribution.step is None else (value - distribution.low) / distribution.step
    return abs(steps - round(steps)) < 1e-6


def as_drawn(distribution: Distribution, value: Any) -> Scalar:
    """A value that a parameter can have, as a draw would give it: 1.0 instead of 1 where it is a float."""
    if isinstance(distribution, CategoricalParameter):
        return distribution.choices[distribution.choices.index(value)]
    return float(value) if isinstance(distribution, FloatParameter) else int(value)


def draw(distribution: Distribution, rng: random.Random) -> Scalar:
    """A value at random."""
    match distribution:
        case CategoricalParameter(choices=choices):
            return choices[rng.randrange(len(choices))]
        case FloatParameter(low=low, high=high, log=True):
            return min(high, max(low, math.exp(rng.uniform(math.log(low), math.log(high)))))
        case FloatParameter(low=low, high=high, step=None):
            return rng.uniform(low, high)
        case FloatParameter(low=low, high=high, step=float(step)):
            return low + rng.randrange(_steps(low, high, step) + 1) * step
        case IntParameter(low=low, high=high, log=True):
            value = round(math.exp(rng.uniform(math.log(low - 0.5), math.log(high + 0.5))))
            return min(high, max(low, value))
        case IntParameter(low=low, high=high, step=step):
            return rng.randrange(low, high + 1, step or 1)
    raise AssertionError(distribution)


def chain(parameters: list[Parameter]) -> tuple[Parameter, ...]:
    """Sorts so that each parameter comes after those its conditions refer to, else in the given order.

    Raises:
        ValueError: conditions refer to each other in a circle; the message names one of them.
    """
    done: dict[str, Parameter] = {}
    waiting = list(parameters)
    while waiting:
        ready = [p for p in waiting if all(name in done for name in p.when)]
        if not ready:
            raise ValueError(waiting[0].name)
        # one at a time keeps the order of the file as far as conditions allow
        done[ready[0].name] = ready[0]
        waiting.remove(ready[0])
    return tuple(itertools.chain(done.values()))
