"""Changing a spec that was submitted: a JSON merge patch (RFC 7396), checked as the whole spec is."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from toprung.errors import InvalidSpec, Problem
from toprung.tuning.spec.models import SweepSpec
from toprung.tuning.spec.parse import spec_from
from toprung.tuning.spec.parts import pointer

EDITABLE = ("budget", "concurrency", "priority", "weight")
"""Fields that may change while a sweep lives. The others say what it is: what changes them is another sweep."""


def edited(spec: SweepSpec, patch: Mapping[str, Any]) -> SweepSpec:
    """The spec of a living sweep with some of its `EDITABLE` fields changed.

    Args:
        spec: as it is.
        patch: a merge patch: what it leaves out stays, null takes a value away.

    Raises:
        InvalidSpec: lists all problems.
    """
    fixed = [name for name in patch if name in SweepSpec.model_fields and name not in EDITABLE]
    if fixed:
        hint = f"these can: {', '.join(EDITABLE)}; for another sweep with it changed: toprung clone"
        problems = [Problem(pointer(name), "not_editable", "can't change once submitted", hint) for name in fixed]
        raise InvalidSpec(_count("the edit", problems), problems=problems)
    data: dict[str, Any] = merged(spec.model_dump(mode="json"), patch)
    return spec_from(data)


def point(spec: SweepSpec, config: Mapping[str, Any]) -> dict[str, Any]:
    """The values that a configuration made by hand gives to varied parameters, flat.

    Args:
        spec: of the sweep that is to try it.
        config: nested as `parameters`; what it leaves out is drawn at random.

    Raises:
        InvalidSpec: lists all that is wrong with it.
    """
    alone = spec.search.model_copy(update={"points": (), "prior": ()}).model_dump(mode="json")
    try:
        asked = spec_from({**spec.model_dump(mode="json"), "search": {**alone, "points": [dict(config)]}})
    except InvalidSpec as error:
        problems = [
            dataclasses.replace(problem, pointer=problem.pointer.replace("/search/points/0", "/config", 1))
            for problem in error.problems
        ]
        raise InvalidSpec(_count("the configuration", problems), problems=problems) from None
    return asked.space.given(config)


def merged(value: Any, patch: Any) -> Any:
    """A JSON value with a merge patch applied (RFC 7396, section 2).

    Where a distribution takes the place of one of another type, nothing of the old one stays.
    """
    if not isinstance(patch, Mapping):
        return patch
    whole = not isinstance(value, dict) or ("type" in patch and patch["type"] != value.get("type"))
    result = {} if whole else dict(value)
    for name, part in patch.items():
        if part is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), part)
    return result


def _count(what: str, problems: list[Problem]) -> str:
    return f"{what} has " + ("1 problem" if len(problems) == 1 else f"{len(problems)} problems")
