"""What the service wants of a running sweep: told to its runner whole, anew with each change."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import Field

from toprung.tuning.records import Record
from toprung.tuning.spec import SweepSpec

ANY_GPU = "any"
"""The price of GPUs without one of their own."""


def price(prices: Mapping[str, float], accelerator_type: str | None) -> float | None:
    """Of a GPU-hour, by Ray's name of the accelerator type; None where nothing says."""
    return prices.get(accelerator_type or ANY_GPU, prices.get(ANY_GPU))


class TrialRequest(Record):
    """A trial that a user asked for; it comes on top of `budget.trials`."""

    id: int
    params: dict[str, Any]
    """The values that are given, flat; what is missing is drawn at random."""
    retry_of: int | None = None
    """The number of the trial whose configuration this is."""


class Orders(Record):
    """A sweep as it is wanted at the moment."""

    spec: SweepSpec
    """As last edited."""
    revision: int
    """The sweep's when this was read."""
    requests: list[TrialRequest] = Field(default_factory=list)
    """All of them, in their order; a trial says which one it answers."""
    stopping: list[int] = Field(default_factory=list)
    """Numbers of unfinished trials that are to end."""
    prices: dict[str, float] = Field(default_factory=dict)
    """Of a GPU-hour, see `price`."""
    share: int = 1
    """Most trials at once."""
    preempt: bool = False
    """Whether trials beyond the share pause at their next checkpoint; else they end in their own time."""
