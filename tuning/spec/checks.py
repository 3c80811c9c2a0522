"""Checks across fields: names, conditions, relations, grid, budget.

They work on whatever parts of a spec could be read, so that one broken field doesn't hide what is wrong with the rest.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from toprung.errors import Problem
from toprung.tuning.spec import relations
from toprung.tuning.spec.parameters import (
    BaseDistribution,
    CategoricalParameter,
    Distribution,
    FloatParameter,
    IntParameter,
)
from toprung.tuning.spec.space import Parameter, SearchSpace, chain, finite


@dataclass(frozen=True)
class Parts:
    """What the checks need. A parameter that could not be read is `Broken`; other fields None where unreadable."""

    parameters: Mapping[str, Any]
    constraints: tuple[str, ...]
    algorithm: str | None
    budget: bool | None


class Broken:
    """Stands for a parameter whose own problems are reported elsewhere: it has a name, nothing more is known."""


@dataclass
class _Flat:
    parameters: dict[str, Distribution | Broken]
    constants: dict[str, Any]


def pointer(*parts: str | int) -> str:
    """A JSON Pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def did_you_mean(word: str, names: Iterable[str]) -> str | None:
    """The hint for a misspelt name."""
    close = difflib.get_close_matches(word, list(names), n=1)
    return f"did you mean {close[0]}?" if close else None


def cross_problems(parts: Parts) -> list[Problem]:
    """Every problem between fields."""
    flat = _flatten(parts.parameters)
    problems = [*_name_problems(parts.parameters, ("parameters",))]
    conditions = [*_condition_problems(flat)]
    found = [*_relation_problems(parts.constraints, flat)]
    problems += conditions + found
    if parts.parameters and not flat.parameters:
        problems.append(Problem("/parameters", "nothing_varied", "every parameter is a constant: nothing is varied"))
    if parts.algorithm == "grid":
        problems += _grid_problems(flat)
    elif parts.budget is False:
        problems.append(
            Problem(
                "/budget", "no_budget", "give at least one of trials, wall_time_s, gpu_hours", "budget: {trials: 50}"
            )
        )
    if not problems and not any(isinstance(d, Broken) for d in flat.parameters.values()):
        problems += _circle_problems(flat)
        if not problems and not build_space(parts).satisfiable():
            detail = "no configuration meets all constraints (none found in 2,000 random draws)"
            problems.append(Problem("/constraints", "unsatisfiable", detail))
    return problems


def build_space(parts: Parts) -> SearchSpace:
    """The space of parts without problems."""
    flat = _flatten(parts.parameters)
    parameters = [
        Parameter(name, distribution, _full_names(name, distribution, flat))
        for name, distribution in flat.parameters.items()
        if isinstance(distribution, BaseDistribution)
    ]
    return SearchSpace(chain(parameters), flat.constants, tuple(relations.parse(text) for text in parts.constraints))


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> _Flat:
    flat = _Flat({}, {})
    for key, node in tree.items():
        name = f"{prefix}{key}"
        if isinstance(node, BaseDistribution | Broken):
            flat.parameters[name] = node  # type: ignore[assignment]
        elif isinstance(node, Mapping) and node:
            inner = _flatten(node, f"{name}/")
            flat.parameters |= inner.parameters
            flat.constants |= inner.constants
        else:
            flat.constants[name] = node
    return flat


def _name_problems(tree: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Problem]:
    for key, node in tree.items():
        if not key or "/" in key or key.startswith("__"):
            yield Problem(
                pointer(*path, key), "bad_name", f"{key!r} is no name for a parameter: not empty, no /, not __ in front"
            )
        if isinstance(node, Mapping):
            yield from _name_problems(node, (*path, key))


def _resolve(reference: str, name: str, flat: _Flat) -> str | None:
    """The full name of what a condition of `name` refers to: a sibling first, then from the top."""
    group = name.rpartition("/")[0]
    for full in ((f"{group}/{reference}" if group else reference), reference):
        if full in flat.parameters:
            return full
    return None


def _full_names(name: str, distribution: BaseDistribution, flat: _Flat) -> dict[str, Any]:
    return {(_resolve(ref, name, flat) or ref): values for ref, values in distribution.when.items()}


def _condition_problems(flat: _Flat) -> Iterator[Problem]:
    for name, distribution in flat.parameters.items():
        if isinstance(distribution, Broken):
            continue
        for reference, values in distribution.when.items():
            where = pointer("parameters", *name.split("/"), "when", reference)
            full = _resolve(reference, name, flat)
            if full is None:
                text = f"refers to {reference}, which is not a varied parameter"
                yield Problem(where, "unknown_parameter", text, did_you_mean(reference, flat.parameters))
                continue
            for value in values:
                if not _possible(flat.parameters[full], value):
                    text = f"{value!r} is not a value that {full} can have"
                    yield Problem(where, "impossible_condition", text, _choices_hint(flat.parameters[full]))


def _possible(distribution: Distribution | Broken, value: Any) -> bool:
    match distribution:
        case CategoricalParameter(choices=choices):
            return value in choices
        case IntParameter(low=low, high=high, step=step):
            whole = isinstance(value, int) and not isinstance(value, bool)
            return whole and low <= value <= high and (value - low) % (step or 1) == 0
        case FloatParameter(low=low, high=high):
            return isinstance(value, int | float) and low <= value <= high
        case _:
            return True


def _choices_hint(distribution: Distribution | Broken) -> str | None:
    if isinstance(distribution, CategoricalParameter):
        return "it has " + ", ".join(map(str, distribution.choices))
    if isinstance(distribution, IntParameter | FloatParameter):
        return f"it goes from {distribution.low:g} to {distribution.high:g}"
    return None


def _circle_problems(flat: _Flat) -> list[Problem]:
    try:
        chain(
            [
                Parameter(name, distribution, _full_names(name, distribution, flat))
                for name, distribution in flat.parameters.items()
                if isinstance(distribution, BaseDistribution)
            ]
        )
    except ValueError as error:
        name = str(error)
        where = pointer("parameters", *name.split("/"), "when")
        return [Problem(where, "circular_condition", f"the conditions of {name} lead back to itself")]
    return []


def _relation_problems(texts: tuple[str, ...], flat: _Flat) -> Iterator[Problem]:
    names = [*flat.parameters, *flat.constants]
    for index, text in enumerate(texts):
        where = pointer("constraints", index)
        try:
            relation = relations.parse(text)
        except ValueError as error:
            yield Problem(where, "bad_relation", f"{text!r} {error}")
            continue
        for name in sorted(relation.names - set(names)):
            dotted = name.replace("/", ".")
            hint = did_you_mean(dotted, [other.replace("/", ".") for other in names])
            yield Problem(where, "unknown_parameter", f"refers to {dotted}, which is not a parameter", hint)


def _grid_problems(flat: _Flat) -> Iterator[Problem]:
    for name, distribution in flat.parameters.items():
        if isinstance(distribution, BaseDistribution) and not finite(distribution):
            where = pointer("parameters", *name.split("/"))
            yield Problem(
                where, "not_finite", "a grid needs finitely many values: give it a step, or make it categorical"
            )
