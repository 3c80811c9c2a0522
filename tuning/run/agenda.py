"""What a runner is to do, as the service last told it, and how far it has come with what users asked for."""

from __future__ import annotations

import math
import threading

from toprung.tuning.orders import Orders, TrialRequest
from toprung.tuning.plan import num_trials
from toprung.tuning.records import Trial


class Agenda:
    """The present orders. Thread-safe: they come from another thread than that of the sweep.

    Args:
        orders: the first ones.
        lock: held while they change.
    """

    def __init__(self, orders: Orders, lock: threading.RLock) -> None:
        self._lock = lock
        self._answered: set[int] = set()
        self._served: int | None = None
        self.direct(orders)

    def direct(self, orders: Orders) -> None:
        """Takes note of what the sweep is to do from now on."""
        bound = num_trials(orders.spec)
        with self._lock:
            self._bound, self.orders = bound, orders

    def begun(self, trial: Trial) -> None:
        """Takes note of a trial; it may be one that a user asked for."""
        if trial.request_id is not None:
            self._answered.add(trial.request_id)

    def next_request(self) -> TrialRequest | None:
        """The first trial that a user asked for and that was not begun yet."""
        return next((request for request in self.orders.requests if request.id not in self._answered), None)

    def proposals_left(self, num_begun: int) -> float:
        """How many trials the search may still propose, of the trials that were begun."""
        return math.inf if self._bound is None else max(0, self._bound - (num_begun - len(self._answered)))

    def close(self, revision: int | None = None) -> None:
        """Nothing more will be begun: what was asked for after a revision is left to another runner.

        Args:
            revision: None: the present one.
        """
        with self._lock:
            if self._served is None:
                self._served = self.orders.revision if revision is None else revision

    @property
    def closed(self) -> bool:
        """Whether nothing more will be begun here."""
        return self._served is not None

    @property
    def served(self) -> int:
        """The revision of the sweep up to which all that was asked for was done or begun."""
        return self.orders.revision if self._served is None else self._served
