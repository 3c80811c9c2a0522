"""Where a trial's summaries (images, histograms, …) go, for code that knows nothing of sweeps. Loads nothing.

The service's trials are given a `Collector` before their code runs; in a plain `ray.tune.Tuner` there is none.
"""

from __future__ import annotations

from typing import Protocol


class Collector(Protocol):
    """Takes the summaries of one attempt."""

    def __hash__(self) -> int: ...

    def add(self, event: bytes) -> None:
        """A serialized `tensorflow.Event`. Never raises: what can't be kept is left out."""


_collector: Collector | None = None


def collector() -> Collector | None:
    """That of the trial that runs in this process, if somebody collects."""
    return _collector


def collect_with(collector: Collector) -> None:
    """From now on, summaries of this process belong to another attempt."""
    global _collector
    _collector = collector
