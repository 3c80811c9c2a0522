"""What a tracking system is to the tracker."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from toprung.serve.store import KnownSweep
from toprung.tuning.records import Result, Sweep, Trial


class Sink(Protocol):
    """Takes the trials of one sweep. Any exception switches the sink off for that sweep."""

    def start(self, sweep: Sweep, trial: Trial) -> None:
        """A trial whose first results follow."""

    def write(self, trial: Trial, results: Sequence[Result]) -> None:
        """Results of a started trial, by step."""

    def finish(self, trial: Trial) -> None:
        """The trial has ended; nothing more comes of it."""

    def flush(self) -> None:
        """What was written is on disk, or on its way to the server."""

    def close(self) -> None:
        """Lets go of everything."""


def folder_name(sweep: Sweep | KnownSweep) -> str:
    """A readable name that no other sweep has: names may come again, ids don't."""
    return f"{sweep.name}-{sweep.id[-6:]}"
