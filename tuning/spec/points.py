"""Checks of `search.points`: the configurations that are tried first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from toprung.errors import Problem
from toprung.tuning.spec import relations
from toprung.tuning.spec.parts import Broken, Flat, Parts, did_you_mean, pointer, values_hint
from toprung.tuning.spec.space import SearchSpace, allows, as_drawn


def number_problems(parts: Parts) -> Iterator[Problem]:
    """More points than trials."""
    if parts.trials is not None and len(parts.points) > parts.trials:
        text = f"{len(parts.points)} points, but budget.trials is {parts.trials}: some would never be tried"
        yield Problem(pointer("search", "points"), "too_many_points", text)


def point_problems(parts: Parts, flat: Flat) -> Iterator[Problem]:
    """What is wrong with single points, and points that are there twice."""
    known = [relation for text in parts.constraints if (relation := _readable(text)) is not None]
    seen: dict[frozenset[tuple[str, Any]], int] = {}
    for index, point in enumerate(parts.points):
        where = pointer("search", "points", index)
        if point is None:
            continue
        places = _places(point, where)
        problems = [problem for name, place in places.items() for problem in _value_problems(name, *place, flat)]
        values = {name: value for name, (_, value) in places.items() if name not in flat.constants}
        problems += _inactive(values, places, flat)
        if not problems and not values:
            problems.append(Problem(where, "empty_point", "gives no value of a varied parameter"))
        yield from problems
        if problems:
            continue
        for relation in known:
            if not relation.holds({**flat.constants, **values}):
                yield Problem(where, "broken_relation", f"breaks the relation {relation.text!r}")
        readable = {name: d for name in values if not isinstance(d := flat.parameters[name], Broken)}
        if readable.keys() < values.keys():
            continue
        given = frozenset((name, as_drawn(d, values[name])) for name, d in readable.items())
        if given in seen:
            yield Problem(where, "duplicate_point", f"is the same as point {seen[given]}")
        seen.setdefault(given, index)


def unsatisfiable_points(points: Sequence[Mapping[str, Any] | None], space: SearchSpace) -> Iterator[Problem]:
    """Points without other problems that leave no values for the rest of their parameters."""
    for index, point in enumerate(points):
        if point is not None and not space.satisfiable(space.given(point)):
            text = "no configuration with these values meets all constraints (none found in 2,000 random draws)"
            yield Problem(pointer("search", "points", index), "unsatisfiable", text)


def _readable(text: str) -> relations.Relation | None:
    try:
        return relations.parse(text)
    except ValueError:
        return None


def _places(tree: Mapping[str, Any], where: str, prefix: str = "") -> dict[str, tuple[str, Any]]:
    """The values in a point by their full names, each with its pointer."""
    places: dict[str, tuple[str, Any]] = {}
    for key, value in tree.items():
        name, inner = f"{prefix}{key}", where + pointer(key)
        places |= _places(value, inner, f"{name}/") if isinstance(value, Mapping) else {name: (inner, value)}
    return places


def _value_problems(name: str, where: str, value: Any, flat: Flat) -> Iterator[Problem]:
    if name in flat.constants:
        if value != flat.constants[name]:
            text = f"{name} is the constant {flat.constants[name]!r}, it cannot be {value!r} in a point"
            yield Problem(where, "not_varied", text, "leave it out, or vary it under parameters")
        return
    if name not in flat.parameters:
        yield Problem(where, "unknown_parameter", f"{name} is not a parameter", did_you_mean(name, flat.parameters))
        return
    distribution = flat.parameters[name]
    if not isinstance(distribution, Broken) and not allows(distribution, value):
        text = f"{value!r} is not a value that {name} can have"
        yield Problem(where, "impossible_value", text, values_hint(distribution))


def _inactive(values: Mapping[str, Any], places: Mapping[str, tuple[str, Any]], flat: Flat) -> Iterator[Problem]:
    for name in values:
        if name not in flat.parameters:
            continue
        for other, allowed in flat.conditions(name).items():
            if other in values and values[other] in allowed:
                continue
            has = f"this point has {values[other]!r}" if other in values else f"this point does not give {other}"
            needed = " or ".join(map(repr, allowed))
            text = f"{name} exists only where {other} is {needed}; {has}"
            yield Problem(places[name][0], "inactive_parameter", text)
