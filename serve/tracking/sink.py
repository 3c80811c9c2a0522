"""What a tracking system is to the tracker."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Protocol

from toprung.errors import NotFound
from toprung.serve.store import KnownSweep, Store
from toprung.tuning.records import Result, Sweep, Trial

logger = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes the trials of one sweep. Any exception switches the sink off for that sweep."""

    def start(self, sweep: Sweep, trial: Trial) -> None:
        """A trial whose first results follow."""

    def write(self, trial: Trial, results: Sequence[Result]) -> None:
        """Results of a started trial, by step."""

    def finish(self, trial: Trial) -> None:
        """The trial has ended; nothing more comes of it."""

    def end(self, sweep: Sweep, trials: Iterable[Trial]) -> None:
        """The sweep has ended, with these trials: those that were finished, and those of which nothing was told."""

    def flush(self) -> None:
        """What was written is on disk, or on its way to the server."""

    def close(self) -> None:
        """Lets go of everything."""


def folder_name(sweep: Sweep | KnownSweep) -> str:
    """A readable name that no other sweep has: names may come again, ids don't."""
    return f"{sweep.name}-{sweep.id[-6:]}"


def report_off(store: Store, sweep_id: str, name: str, error: Exception) -> None:
    """Says in the sweep's events that a tracking system has failed, and is not told of it any more."""
    logger.error("tracking %s in %s failed", sweep_id, name, exc_info=error)
    message = f"{name} is off for this sweep: {error}. The sweep goes on; its results are in Toprung."
    with suppress(NotFound):  # deleted in the meantime
        store.add_event(sweep_id, "warning", {"source": name, "message": message})
