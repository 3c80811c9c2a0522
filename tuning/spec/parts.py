"""What of a spec the checks across fields work on: whatever could be read, with the parameters flattened."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from toprung.tuning.spec import relations
from toprung.tuning.spec.parameters import (
    BaseDistribution,
    CategoricalParameter,
    Distribution,
    FloatParameter,
    IntParameter,
)
from toprung.tuning.spec.space import Parameter, SearchSpace, chain


@dataclass(frozen=True)
class Parts:
    """What the checks need. A parameter that could not be read is `Broken`; others, and points, are then None."""

    parameters: Mapping[str, Any]
    constraints: tuple[str, ...]
    algorithm: str | None
    budget: bool | None
    trials: int | None
    points: tuple[Mapping[str, Any] | None, ...]


class Broken:
    """Stands for a parameter whose own problems are reported elsewhere: it has a name, nothing more is known."""


@dataclass
class Flat:
    """Parameters and constants by their full names, groups joined by "/"."""

    parameters: dict[str, Distribution | Broken]
    constants: dict[str, Any]

    def resolve(self, reference: str, name: str) -> str | None:
        """The full name of what a condition of `name` refers to: a sibling first, then from the top."""
        group = name.rpartition("/")[0]
        for full in ((f"{group}/{reference}" if group else reference), reference):
            if full in self.parameters:
                return full
        return None

    def conditions(self, name: str) -> dict[str, tuple[Any, ...]]:
        """A parameter's conditions, with the full names of what they refer to."""
        distribution = self.parameters[name]
        if isinstance(distribution, Broken):
            return {}
        return {(self.resolve(ref, name) or ref): values for ref, values in distribution.when.items()}

    def sorted(self) -> tuple[Parameter, ...]:
        """The parameters that could be read, in the space's order.

        Raises:
            ValueError: conditions lead in a circle; the message names one of its parameters.
        """
        return chain(
            [
                Parameter(name, distribution, self.conditions(name))
                for name, distribution in self.parameters.items()
                if isinstance(distribution, BaseDistribution)
            ]
        )


def pointer(*parts: str | int) -> str:
    """A JSON Pointer (RFC 6901)."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in parts)


def did_you_mean(word: str, names: Iterable[str]) -> str | None:
    """The hint for a misspelt name."""
    close = difflib.get_close_matches(word, list(names), n=1)
    return f"did you mean {close[0]}?" if close else None


def values_hint(distribution: Distribution | Broken) -> str | None:
    """The hint for a value that a parameter can't have."""
    if isinstance(distribution, CategoricalParameter):
        return "it has " + ", ".join(map(str, distribution.choices))
    if isinstance(distribution, IntParameter | FloatParameter):
        steps = "" if distribution.step is None else f" in steps of {distribution.step:g}"
        return f"it goes from {distribution.low:g} to {distribution.high:g}{steps}"
    return None


def flatten(tree: Mapping[str, Any], prefix: str = "") -> Flat:
    """The tree under `parameters`."""
    flat = Flat({}, {})
    for key, node in tree.items():
        name = f"{prefix}{key}"
        if isinstance(node, BaseDistribution | Broken):
            flat.parameters[name] = node  # type: ignore[assignment]
        elif isinstance(node, Mapping) and node:
            inner = flatten(node, f"{name}/")
            flat.parameters |= inner.parameters
            flat.constants |= inner.constants
        else:
            flat.constants[name] = node
    return flat


def build_space(parts: Parts) -> SearchSpace:
    """The space of parts without problems."""
    flat = flatten(parts.parameters)
    return SearchSpace(flat.sorted(), flat.constants, tuple(relations.parse(text) for text in parts.constraints))
