"""Webhooks as one loop among those of the tracker's process (`toprung.serve.tracking.actor`)."""

from __future__ import annotations

import time
from pathlib import Path

from toprung.serve.home import Home
from toprung.serve.settings import Settings
from toprung.serve.store import Store
from toprung.serve.webhooks.following import Following
from toprung.serve.webhooks.sending import Sending


class Telling:
    """Makes messages from events, and sends what is due.

    Raises:
        InvalidInput: the settings are wrong.
    """

    def __init__(self, store: Store, home: Path) -> None:
        settings = Settings.read(Home.at(home).settings_file).webhooks
        self._following = Following(store, home, settings)
        self._sending = Sending(store, settings)

    def step(self) -> bool:
        """One round. Returns whether there was anything to do."""
        read = self._following.step()
        return self._sending.step() or read

    def drain(self, deadline_s: float) -> None:
        """Tell what has happened; what fails waits for the next start."""
        ends_at = time.monotonic() + deadline_s
        while time.monotonic() < ends_at and self.step():
            self._sending.settle(max(0.0, ends_at - time.monotonic()))

    def close(self) -> None:
        """Let go of everything."""
        self._sending.close()
