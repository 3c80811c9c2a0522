"""What parts of batches fit into memory: found by a trial, a hint for the trials that come later.

Findings travel to the runner with results, and from there to trials in other processes with their configurations.
Light: the runner does without PyTorch.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

KEPT = 50
"""Findings, the last ones: they go to each trial."""

_NEWS = "__toprung_fits__"
"""Key of a result, which is no metric."""

Finding = tuple[str, int]
"""A digest of what decides how much memory a batch takes, and how many of its samples fit at once."""


class Fits:
    """The last findings, of this process and of others."""

    def __init__(self) -> None:
        self._sizes: dict[str, int] = {}
        self._news: dict[str, int] = {}

    def get(self, digest: str) -> int | None:
        return self._sizes.get(digest)

    def find(self, digest: str, size: int) -> None:
        """Found in this process: others are to be told."""
        if self._sizes.get(digest) != size:
            self.learn([(digest, size)])
            self._news[digest] = size

    def learn(self, findings: Iterable[Finding]) -> None:
        """What others found."""
        for digest, size in findings:
            self._sizes.pop(digest, None)
            self._sizes[digest] = size
        for digest in list(self._sizes)[:-KEPT]:
            del self._sizes[digest]

    def known(self) -> tuple[Finding, ...]:
        return tuple(self._sizes.items())

    def put_news(self, result: dict[str, Any]) -> None:
        """Adds to a trial's result what was found since the last one, if anything."""
        if self._news:
            news, self._news = self._news, {}
            result[_NEWS] = tuple(news.items())

    def take_news(self, result: dict[str, Any]) -> None:
        """Learns what came with a result."""
        self.learn(result.pop(_NEWS, ()))

    def forget(self) -> None:
        self._sizes, self._news = {}, {}


here = Fits()
"""Of this process, where trials run."""
