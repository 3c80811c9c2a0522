"""Finishes what `Store.delete_sweep` begins: removes a deleted sweep's files, then its rows.

The sweep's row is there until the end: whoever is killed in between, the next one begins anew and finds less to do.
"""

from __future__ import annotations

import logging
import threading
import time

from toprung.serve.home import Home
from toprung.serve.retention.files import files_of, remove
from toprung.serve.store import KnownSweep, Store
from toprung.tuning.storage import StoredFolder

logger = logging.getLogger(__name__)

ASKED_FOR_S = 60.0
"""A package that was asked for in the last minute stays: its submission may be on the way."""
_IDLE_S = 1.0
_ROWS = 2_000
"""Rows of a transaction; of results about 10 ms on SQLite."""


class Remover:
    """Removes deleted sweeps in a thread of its own, so that neither a request nor the controller waits for it."""

    def __init__(self, store: Store, home: Home) -> None:
        self._store = store
        self._home = home
        self._stopping = threading.Event()
        self._loop = threading.Thread(target=self._run, name="remover", daemon=True)

    def start(self) -> None:
        self._loop.start()

    def close(self) -> None:
        """Stops, in the middle of a sweep too."""
        self._stopping.set()
        self._loop.join(timeout=10)

    def step(self) -> None:
        """Removes what is left of the deleted sweeps."""
        for sweep in self._store.retention.deleted_sweeps():
            if self._remove_checkpoints(sweep):
                self._remove_files(sweep)
                self._remove_rows(sweep)

    def _run(self) -> None:
        while not self._stopping.wait(_IDLE_S):
            try:
                self.step()
            except Exception:  # the store is away, say; the next round tries again
                logger.exception("a deleted sweep could not be removed")

    def _remove_checkpoints(self, sweep: KnownSweep) -> bool:
        """Returns whether a store has none any more. While it does not answer the sweep stays deleted and known."""
        for folder in self._home.storage.of_sweep(sweep.id):
            if isinstance(folder, StoredFolder):
                try:
                    folder.remove()
                except OSError as error:
                    logger.warning("checkpoints of the deleted sweep %s stay for now: %s", sweep.name, error)
                    return False
        return True

    def _remove_files(self, sweep: KnownSweep) -> None:
        paths = [path for paths in files_of(self._home, sweep).values() for path in paths]
        if sweep.package is not None and self._is_last_of(sweep.package):
            paths.append(self._home.package(sweep.package))
        for path in paths:
            if self._stopping.is_set():
                return
            try:
                remove(path)
            except OSError as error:  # what stays is of an unknown sweep soon, which a clean-up finds
                logger.warning("%s of the deleted sweep %s stays: %s", path, sweep.name, error)

    def _is_last_of(self, package: str) -> bool:
        """Whether no sweep needs the package, nor a submission that is on its way."""
        if any(sweep.state is not None and sweep.package == package for sweep in self._store.retention.known_sweeps()):
            return False
        try:
            return time.time() - self._home.package(package).stat().st_mtime > ASKED_FOR_S
        except FileNotFoundError:
            return False

    def _remove_rows(self, sweep: KnownSweep) -> None:
        gone = False
        while not gone and not self._stopping.is_set():
            began_at = time.monotonic()
            gone = self._store.retention.remove_rows(sweep.id, _ROWS)
            # half of the time is others': a writer that waits for SQLite's lock has no place in a queue
            self._stopping.wait(time.monotonic() - began_at)
