"""Sweeps' trials as columns, kept in memory while somebody looks at them and brought up to date as they change."""

from __future__ import annotations

import gc
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from toprung.figures.building import build, updated
from toprung.figures.columns import Columns
from toprung.figures.decisions import Decisions
from toprung.serve.store import Store
from toprung.tuning.records import Sweep

MOST_SWEEPS = 16
MOST_BYTES = 256 * 1024 * 1024


@dataclass
class _Kept:
    """What is kept of a sweep; who holds the lock brings it up to date, others wait for that."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    columns: Columns | None = None
    last_event: int = -1
    decisions: Decisions = field(default_factory=Decisions.none)
    decided_at: int = -1
    """The last event when the decisions were read."""

    @property
    def size_bytes(self) -> int:
        return (self.columns.size_bytes if self.columns else 0) + self.decisions.size_bytes


@dataclass(frozen=True)
class Look:
    """A sweep's trials at one moment."""

    columns: Columns
    last_event: int
    """As long as this stays the same, nothing has changed."""


class ColumnCache:
    """The columns of the sweeps that were looked at last. Can be used from several threads.

    Args:
        store: where they come from.
        most_sweeps: how many are kept.
        most_bytes: how large they may be together; the one that is looked at is kept in any case.
    """

    def __init__(self, store: Store, *, most_sweeps: int = MOST_SWEEPS, most_bytes: int = MOST_BYTES) -> None:
        self._store = store
        self._most_sweeps = most_sweeps
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    def columns(self, sweep: Sweep) -> Look:
        """The sweep's trials as they stand now. Waits where another thread is reading them already."""
        kept = self._get(sweep.id)
        with kept.lock:
            last = self._store.bulk.last_event(sweep.id)
            if kept.columns is None or kept.last_event != last:
                with _collector_at_rest():
                    self._bring_up(sweep, kept)
            assert kept.columns is not None
            look = Look(kept.columns, kept.last_event)
        self._make_room(sweep.id)
        return look

    def decisions(self, sweep: Sweep) -> Decisions:
        """What the scheduler has decided, as it stands now."""
        kept = self._get(sweep.id)
        with kept.lock:
            last = self._store.bulk.last_event(sweep.id)
            if kept.decided_at != last:
                rows = self._store.bulk.decisions_after(sweep.id, kept.decisions.last_id)
                kept.decisions, kept.decided_at = kept.decisions.with_rows(rows), last
            found = kept.decisions
        self._make_room(sweep.id)
        return found

    @property
    def sweeps(self) -> list[str]:
        """Whose columns are kept, those that were looked at last at the end."""
        with self._lock:
            return list(self._kept)

    def _get(self, sweep_id: str) -> _Kept:
        with self._lock:
            kept = self._kept.setdefault(sweep_id, _Kept())
            self._kept.move_to_end(sweep_id)
            return kept

    def _bring_up(self, sweep: Sweep, kept: _Kept) -> None:
        after = None if kept.columns is None else kept.last_event
        changes = self._store.bulk.changes(sweep.id, after)
        newer = None
        if kept.columns is not None and not changes.whole:
            newer = updated(kept.columns, changes.trials)
            if newer is None:
                changes = self._store.bulk.changes(sweep.id, None)
        if newer is None:
            params = [parameter.name for parameter in sweep.spec.space.parameters]
            newer = build(changes.trials, [sweep.spec.metric.name], params)
        kept.columns, kept.last_event = newer, changes.last_event

    def _make_room(self, looked_at: str) -> None:
        with self._lock:
            while len(self._kept) > 1 and (
                len(self._kept) > self._most_sweeps
                or sum(kept.size_bytes for kept in self._kept.values()) > self._most_bytes
            ):
                oldest = next(sweep_id for sweep_id in self._kept if sweep_id != looked_at)
                del self._kept[oldest]


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """50,000 trials are as many rows and dicts, none of them garbage: looking for some took a quarter of the time.

    Where several threads are at it, the first to end wakes the collector for all: it may come too early, but it comes.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
