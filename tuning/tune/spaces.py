"""Search spaces as users of Ray Tune have them, and the way from proposals to their configs and back."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import ValidationError
from ray.tune.search.sample import Categorical, Domain, Float, Function, Integer, LogUniform, Quantized, Uniform
from ray.tune.search.variant_generator import assign_value, parse_spec_vars

from toprung.errors import Problem
from toprung.tuning.search import Params
from toprung.tuning.spec import (
    CategoricalParameter,
    Distribution,
    FloatParameter,
    IntParameter,
    Parameter,
    SearchSpace,
)
from toprung.tuning.spec.parameters import Scalar
from toprung.tuning.spec.parts import pointer
from toprung.tuning.spec.space import allows, as_drawn
from toprung.tuning.tune.arguments import checked, invalid

Path = tuple[Any, ...]
"""Keys and indices that lead to a value in a config."""


class Space(Protocol):
    """A search space and its configs."""

    @property
    def space(self) -> SearchSpace:
        """What the search varies."""

    def config(self, params: Params) -> dict[str, Any]:
        """What the trainable gets for a proposal: the varied part of the config, nested."""

    def params(self, config: Mapping[str, Any]) -> Params:
        """The proposal that leads to a config.

        Raises:
            ValueError: a varied parameter is missing, or has a value that it can't have.
        """


def has_domains(config: Mapping[str, Any]) -> bool:
    """Whether a config has anything that Tune would draw or walk over."""
    _, domains, grids = parse_spec_vars(dict(config))
    return bool(domains or grids)


@dataclass(frozen=True)
class SpecSpace:
    """Toprung's own form: `parameters` of a spec, with conditions and relations."""

    space: SearchSpace

    @classmethod
    def of(cls, owner: str, parameters: Mapping[str, Any], constraints: Sequence[str]) -> SpecSpace:
        """Checks it as in a file.

        Raises:
            InvalidSpec: all that is wrong with it.
        """
        return cls(checked(owner, parameters=dict(parameters), constraints=list(constraints)).space)

    def config(self, params: Params) -> dict[str, Any]:
        return self.space.config(params)

    def params(self, config: Mapping[str, Any]) -> Params:
        params: Params = {}
        for parameter in self.space.parameters:
            if self.space.active(parameter.name, params):
                value = _at(config, tuple(parameter.name.split("/")))
                params[parameter.name] = _possible(parameter, value, value)
        if not self.space.satisfied(params):
            raise ValueError("it does not meet the constraints")
        return params


class TuneSpace:
    """Ray Tune's form: a config with domains, such as `tune.uniform`, anywhere in it.

    The search sees choices by their index, so that they may be anything, and quantised numbers by their multiple of q.

    Raises:
        InvalidSpec: no domain, or some that can't be searched; all are listed.
    """

    def __init__(self, owner: str, config: Mapping[str, Any]) -> None:
        _, domains, grids = parse_spec_vars(dict(config))
        problems = [Problem(pointer("space", *path), "unknown_type", _GRID) for path, _ in grids]
        self._domains: dict[str, tuple[Path, Domain]] = {}
        parameters = []
        for path, domain in domains:
            name = "/".join(map(str, path))
            self._domains[name] = path, domain
            try:
                parameters.append(Parameter(name, _distribution(domain)))
            except ValueError as error:
                problems.append(Problem(pointer("space", *path), "unknown_type", _first_line(error)))
        if not domains and not grids:
            problems.append(Problem("/space", "nothing_varied", "nothing is varied: give a domain, as tune.uniform"))
        if problems:
            raise invalid(owner, problems)
        self.space = SearchSpace(tuple(parameters))
        # whole values of the top level, so that a domain may lie in a list
        self._template = {path[0]: config[path[0]] for path, _ in self._domains.values()}

    def config(self, params: Params) -> dict[str, Any]:
        config = copy.deepcopy(self._template)
        for name, (path, domain) in self._domains.items():
            assign_value(config, path, _decode(domain, params[name]))
        return config

    def params(self, config: Mapping[str, Any]) -> Params:
        params: Params = {}
        for parameter in self.space.parameters:
            path, domain = self._domains[parameter.name]
            value = _at(config, path)
            params[parameter.name] = _possible(parameter, _encode(domain, value), value)
        return params


_GRID = "grid_search is walked by Tune itself; use tune.choice, and ToprungSearch(algorithm='grid') to walk all"


def _distribution(domain: Domain) -> Distribution:
    """What the search draws from: numbers, multiples of q or indices.

    Raises:
        ValueError: it can't search this domain.
    """
    if isinstance(domain, Function):
        raise ValueError("sample_from can't be searched; put it into the Tuner's param_space, where Tune fills it in")
    sampler = domain.get_sampler()
    q = sampler.q if isinstance(sampler, Quantized) else None
    if isinstance(sampler, Quantized):
        sampler = sampler.get_sampler()
    log = isinstance(sampler, LogUniform)
    if isinstance(domain, Categorical):
        if any(has_domains({"": value}) for value in domain.categories):
            raise ValueError(
                "a choice with domains inside can't be searched; give the space in Toprung's form, where parameters "
                "have conditions (`when`)"
            )
        return CategoricalParameter(type="categorical", choices=tuple(range(len(domain.categories))))
    if isinstance(sampler, LogUniform | Uniform):
        if q is not None:
            low, high = _multiples(domain, q)
            return _whole(low, high, log)
        if isinstance(domain, Integer):
            return _whole(domain.lower, domain.upper - 1, log)  # Tune leaves the upper end out
        if isinstance(domain, Float):
            return FloatParameter(type="float", low=domain.lower, high=domain.upper, log=log)
    raise ValueError(
        f"{type(domain).__name__} with sampler {sampler} can't be searched; give a range, as tune.uniform(low, high)"
    )


def _multiples(domain: Domain, q: float) -> tuple[int, int]:
    """The first and the last k with k · q in the domain, as Tune's `Quantized` rounds its ends."""

    def index(bound: float, inwards: Any) -> int:
        nearest = round(bound / q)
        return nearest if math.isclose(bound / q, nearest) else int(inwards(bound / q))

    low, high = index(domain.lower, math.ceil), index(domain.upper, math.floor)
    # with q = 1 Tune leaves the upper end of whole numbers out, else not
    return low, high - 1 if isinstance(domain, Integer) and q == 1 else high


def _whole(low: int, high: int, log: bool) -> Distribution:
    if low == high:
        return CategoricalParameter(type="categorical", choices=(low,))
    return IntParameter(type="int", low=low, high=high, log=log)


def _decode(domain: Domain, code: Any) -> Any:
    if isinstance(domain, Categorical):
        return domain.categories[code]
    sampler = domain.get_sampler()
    return domain.cast(code * sampler.q if isinstance(sampler, Quantized) else code)


def _encode(domain: Domain, value: Any) -> Any:
    """What the search sees of a value; None of one that the domain doesn't have."""
    if isinstance(domain, Categorical):
        return domain.categories.index(value) if value in domain.categories else None
    sampler = domain.get_sampler()
    if not isinstance(sampler, Quantized) or not isinstance(value, int | float):
        return value
    code = round(value / sampler.q)
    return code if math.isclose(code * sampler.q, value) else None


def _at(config: Mapping[str, Any], path: Path) -> Any:
    value: Any = config
    for key in path:
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            raise ValueError(f"{'/'.join(map(str, path))} is missing") from None
    return value


def _possible(parameter: Parameter, code: Any, value: Any) -> Scalar:
    if not allows(parameter.distribution, code):
        raise ValueError(f"{parameter.name} can't be {value!r}")
    return as_drawn(parameter.distribution, code)


def _first_line(error: ValueError) -> str:
    return str(error.errors()[0]["msg"]) if isinstance(error, ValidationError) else str(error)
