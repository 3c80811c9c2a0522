"""The tracker as an actor: it follows the store in a thread of its own, apart from the controller's writes."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from toprung.serve.home import Home
from toprung.serve.store import Store
from toprung.serve.tracking.tracker import Tracker

logger = logging.getLogger(__name__)

TRACKER = "toprung-tracker"

_IDLE_S = 0.5
_DRAIN_S = 20.0


class TrackerActor:
    """Runs a `Tracker` until it is drained. Made an actor by `toprung.serve.deploy`."""

    def __init__(self, home: Path) -> None:
        place = Home.at(home)
        self._store = Store(place.store_url)
        self._tracker = Tracker(self._store, place.path)
        self._stop = threading.Event()
        self._loop = threading.Thread(target=self._run, name="tracker", daemon=True)
        self._loop.start()

    def ping(self) -> None:
        """Returns when the actor is there."""

    def drain(self) -> None:
        """Writes what is left, for a bounded time, and closes the files."""
        self._stop.set()
        self._loop.join(timeout=_DRAIN_S)
        self._tracker.drain(_DRAIN_S)
        self._tracker.close()
        self._store.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                busy = self._tracker.step()
            except Exception:  # the store is away, say; trials go on, and the next round tries again
                logger.exception("the tracker's round failed")
                busy = False
            if not busy:
                self._stop.wait(_IDLE_S)
