"""What is fair and what there was: ideal shares by their definition, running trials over time, Jain's index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Counts = dict[str, float]
"""By sweep."""


@dataclass(frozen=True)
class Wish:
    """What a sweep may ask of the cluster.

    Attributes:
        most: trials at once, by its concurrency.
        num_trials: in all.
    """

    weight: float
    priority: int
    most: float
    num_trials: int


@dataclass(frozen=True)
class Span:
    """One run of a trial on a worker, in seconds since the first sweep was submitted."""

    sweep: str
    begin_s: float
    end_s: float


def ideal(places: float, wishes: Mapping[str, Wish], demand: Mapping[str, float]) -> Counts:
    """Weighted max-min shares by filling up, places taken as divisible; higher priorities first, one trial for each.

    Args:
        places: trials that the cluster holds.
        demand: how many trials each sweep could have at the moment; those that are not there are left out.
    """
    share = {name: min(1.0, wanted) for name, wanted in demand.items()}
    left = places - sum(share.values())
    for priority in sorted({wishes[name].priority for name in demand}, reverse=True):
        group = {name for name in demand if wishes[name].priority == priority}
        # the level, in places by weight, to which all that want more are filled
        budget = left + sum(share[name] for name in group)
        level = _level(budget, [(wishes[name].weight, share[name], demand[name]) for name in group])
        for name in group:
            share[name] = min(max(share[name], level * wishes[name].weight), demand[name])
        left = budget - sum(share[name] for name in group)
    return share


def _level(budget: float, claims: Sequence[tuple[float, float, float]]) -> float:
    """Where `sum(min(max(least, level * weight), most))` is the budget, or enough for all."""
    low, high = 0.0, max(most / weight for weight, _, most in claims)
    for _ in range(60):
        middle = (low + high) / 2
        used = sum(min(max(least, middle * weight), most) for weight, least, most in claims)
        low, high = (middle, high) if used <= budget else (low, middle)
    return high


def jain(shares: Iterable[float]) -> float:
    """The fairness index of shares that should be equal: 1 if they are, 1/n if one has all (Jain, Chiu, Hawe 1984)."""
    values = list(shares)
    squares = sum(value * value for value in values)
    return sum(values) ** 2 / (len(values) * squares) if squares else 1.0


def running(spans: Iterable[Span], times: Sequence[float]) -> list[Counts]:
    """How many trials of each sweep ran at each of these times, which ascend."""
    spans = list(spans)
    counts = [dict.fromkeys({span.sweep for span in spans}, 0.0) for _ in times]
    for span in spans:
        for at, count in zip(times, counts, strict=True):
            if span.begin_s <= at < span.end_s:
                count[span.sweep] += 1
    return counts


def mean(counts: Sequence[Counts]) -> Counts:
    """By sweep, over samples; one that a sample lacks has 0 there."""
    names = {name for count in counts for name in count}
    return {name: sum(count.get(name, 0.0) for count in counts) / len(counts) for name in names}
