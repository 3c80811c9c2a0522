"""What users hand over: their arguments are parts of a spec, their objective is a number in a result."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from toprung.errors import InvalidSpec, Problem
from toprung.tuning.run.metrics import scalar
from toprung.tuning.spec import AshaScheduler, SweepSpec, spec_from

_REST = {
    "trainable": "tuner:fit",
    "metric": {"name": "objective", "goal": "minimize"},
    "parameters": {"x": {"type": "int", "low": 0, "high": 1}},
    "budget": {"trials": 1},
}
"""What a spec must have and a Tuner knows itself."""


def checked(owner: str, **parts: Any) -> SweepSpec:
    """A spec with these parts, checked as in a file.

    Raises:
        InvalidSpec: there are problems; the message lists all of them.
    """
    try:
        return spec_from({**_REST, **parts})
    except InvalidSpec as error:
        raise invalid(owner, error.problems) from None


def asha_config(owner: str, **arguments: Any) -> AshaScheduler:
    """The settings of early stopping.

    Raises:
        InvalidSpec: there are problems; the message lists all of them.
    """
    mode = arguments["mode"]
    if mode in ("min", "max"):
        hint = f"{mode} belongs to TuneConfig(metric=…, mode={mode!r})"
        raise invalid(owner, [Problem("/mode", "invalid_value", f"must be stop or promote, not {mode!r}", hint)])
    config = checked(owner, scheduler={"type": "asha", **arguments}).scheduler
    assert isinstance(config, AshaScheduler)
    return config


def invalid(owner: str, problems: Iterable[Problem]) -> InvalidSpec:
    """The error whose message lists the problems, by the names that they have for whoever calls `owner`."""
    problems = list(problems)
    lines = [f"  {_place(p.pointer)}: {p.message}" + (f" ({p.hint})" if p.hint else "") for p in problems]
    return InvalidSpec("\n".join([f"{owner} can't take this:", *lines]), problems=problems)


def _place(pointer: str) -> str:
    # the parts of a spec are arguments here
    part, _, field = pointer.strip("/").partition("/")
    return field if part in ("search", "scheduler") and field else pointer.strip("/").replace("parameters", "space", 1)


def objective(result: Mapping[str, Any], metric: str) -> float | None:
    """The objective in a flat result; None where it is missing, NaN or infinite.

    Raises:
        ValueError: it is no number.
    """
    value = scalar(result.get(metric))
    if value is None:
        return None
    if not isinstance(value, int | float):
        raise ValueError(
            f"{metric!r} is a {type(value).__name__}, not a number: {value!r:.100}; report a number as the objective"
        )
    return float(value) if math.isfinite(value) else None
