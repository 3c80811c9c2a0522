"""The trackers as an actor: they follow the store in threads of their own, apart from the controller's writes."""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

from toprung.serve.home import Home
from toprung.serve.store import Store
from toprung.serve.tracking.runs import RunTracker
from toprung.serve.tracking.tracker import Tracker
from toprung.serve.webhooks.telling import Telling

logger = logging.getLogger(__name__)

TRACKER = "toprung-tracker"

_IDLE_S = 0.5
_DRAIN_S = 20.0
_CLOSE_S = 8.0


class TrackerActor:
    """Runs a `Tracker`, a `RunTracker` and the webhooks until they are drained.

    Made an actor by `toprung.serve.deploy`.
    """

    def __init__(self, home: Path) -> None:
        place = Home.at(home)
        self._store = Store(place.store_url)
        self._stop = threading.Event()
        # a thread each: a server that hangs holds up nobody who writes files
        self._loops = [
            threading.Thread(target=self._run, args=(tracker,), name=type(tracker).__name__, daemon=True)
            for tracker in (
                Tracker(self._store, place.path),
                RunTracker(self._store, place.path),
                Telling(self._store, place.path),
            )
        ]
        for loop in self._loops:
            loop.start()

    def ping(self) -> None:
        """Returns when the actor is there."""

    def drain(self) -> None:
        """Writes what is left, for a bounded time, and closes the files."""
        self._stop.set()
        ends_at = time.monotonic() + _DRAIN_S + _CLOSE_S
        for loop in self._loops:
            loop.join(timeout=max(0.0, ends_at - time.monotonic()))
        self._store.close()

    def _run(self, tracker: Tracker | RunTracker | Telling) -> None:
        while not self._stop.is_set():
            try:
                busy = tracker.step()
            except Exception:  # the store is away, say; trials go on, and the next round tries again
                logger.exception("the tracker's round failed")
                busy = False
            if not busy:
                self._stop.wait(_IDLE_S)
        tracker.drain(_DRAIN_S)
        tracker.close()
