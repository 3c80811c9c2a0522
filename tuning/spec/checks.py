"""Checks across fields: names, conditions, relations, grid, budget, points.

They work on whatever parts of a spec could be read, so that one broken field doesn't hide what is wrong with the rest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from toprung.errors import Problem
from toprung.tuning.spec import relations
from toprung.tuning.spec.parameters import BaseDistribution
from toprung.tuning.spec.parts import Broken, Flat, Parts, build_space, did_you_mean, flatten, pointer, values_hint
from toprung.tuning.spec.points import number_problems, point_problems, unsatisfiable_points
from toprung.tuning.spec.space import allows, finite


def cross_problems(parts: Parts) -> list[Problem]:
    """Every problem between fields."""
    flat = flatten(parts.parameters)
    problems = [
        *_name_problems(parts.parameters, ("parameters",)),
        *_condition_problems(flat),
        *_relation_problems(parts.constraints, flat),
    ]
    if parts.parameters and not flat.parameters:
        problems.append(Problem("/parameters", "nothing_varied", "every parameter is a constant: nothing is varied"))
    if parts.algorithm == "grid":
        problems += _grid_problems(flat)
    elif parts.budget is False:
        problems.append(
            Problem(
                "/budget",
                "no_budget",
                "give at least one of trials, steps, wall_time_s, gpu_hours, cost",
                "budget: {trials: 50}",
            )
        )
    sound = not problems and not any(isinstance(d, Broken) for d in flat.parameters.values())
    if sound:
        problems += _circle_problems(flat)
    problems += [*number_problems(parts), *point_problems(parts, flat)]
    if sound and not problems:
        space = build_space(parts)
        if space.satisfiable():
            problems += unsatisfiable_points(parts.points, space)
        else:
            detail = "no configuration meets all constraints (none found in 2,000 random draws)"
            problems.append(Problem("/constraints", "unsatisfiable", detail))
    return problems


def _name_problems(tree: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[Problem]:
    for key, node in tree.items():
        if not key or "/" in key or key.startswith("__"):
            yield Problem(
                pointer(*path, key), "bad_name", f"{key!r} is no name for a parameter: not empty, no /, not __ in front"
            )
        if isinstance(node, Mapping):
            yield from _name_problems(node, (*path, key))


def _condition_problems(flat: Flat) -> Iterator[Problem]:
    for name, distribution in flat.parameters.items():
        if isinstance(distribution, Broken):
            continue
        for reference, values in distribution.when.items():
            where = pointer("parameters", *name.split("/"), "when", reference)
            full = flat.resolve(reference, name)
            if full is None:
                text = f"refers to {reference}, which is not a varied parameter"
                yield Problem(where, "unknown_parameter", text, did_you_mean(reference, flat.parameters))
                continue
            for value in values:
                target = flat.parameters[full]
                if isinstance(target, BaseDistribution) and not allows(target, value):
                    text = f"{value!r} is not a value that {full} can have"
                    yield Problem(where, "impossible_condition", text, values_hint(target))


def _circle_problems(flat: Flat) -> list[Problem]:
    try:
        flat.sorted()
    except ValueError as error:
        name = str(error)
        where = pointer("parameters", *name.split("/"), "when")
        return [Problem(where, "circular_condition", f"the conditions of {name} lead back to itself")]
    return []


def _relation_problems(texts: tuple[str, ...], flat: Flat) -> Iterator[Problem]:
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


def _grid_problems(flat: Flat) -> Iterator[Problem]:
    for name, distribution in flat.parameters.items():
        if isinstance(distribution, BaseDistribution) and not finite(distribution):
            where = pointer("parameters", *name.split("/"))
            yield Problem(
                where, "not_finite", "a grid needs finitely many values: give it a step, or make it categorical"
            )
