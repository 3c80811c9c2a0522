"""The summaries of trials (`toprung.tuning.summaries`), on their way to the service.

A stream of events, each behind its length (4 bytes, little-endian). Where the trial has made a step, a mark says which:
what stands before it belongs to that step. The service keeps each step once, as it does with results, whatever an
attempt that goes on from an older checkpoint writes again, and in whatever steps of its own the trial counts.
"""

from __future__ import annotations

import struct
import sys
import time

from toprung.tuning.run.shipping import Shipping, Sink

LENGTH = struct.Struct("<I")
MARK = 1 << 31
"""Set in the length of a mark, which holds a step and no event."""

_LIMIT_BYTES = 32 * 1024 * 1024
_CUT = "summaries for TensorBoard: this attempt has more than 32 MiB of them, and what comes from here on is left out"
_WAIT_S = 10.0
"""As long as that for a service that is busy."""


class TrialSummaries(Shipping):
    """Those of the trial that runs in this process. There is one for each process."""

    def __init__(self, sink: Sink) -> None:
        super().__init__(sink, "trial-summaries")
        self._unmarked = False
        self._full = False
        self._away = False
        self._began = False

    def attach(self, number: int, attempt: int) -> Attempt:
        """From now on, summaries belong to this attempt; those of the last are not heard any more."""
        self.flush_soon()
        self.begin(number, attempt)
        self._unmarked = self._full = self._began = False
        return Attempt(self, number, attempt)

    def add(self, number: int, attempt: int, event: bytes) -> None:
        cut = False
        with self._lock:
            if (number, attempt) != (self._number, self._attempt) or self._full:
                return
            self._full = cut = self._offset + len(self._buffer) + len(event) > _LIMIT_BYTES
            if not cut:
                self._buffer += LENGTH.pack(len(event)) + event
                self._unmarked = True
        if cut:
            print(_CUT, file=sys.stderr)  # noqa: T201  into the trial's log

    def starts_from(self, step: int) -> None:
        """Before the first step of an attempt: what its setup wrote belongs to where it starts from."""
        if not self._began:
            self._began = True
            self.mark(step)

    def mark(self, step: int) -> None:
        """The trial has made a step: what came since the last one belongs to it."""
        with self._lock:
            if self._unmarked:
                self._buffer += LENGTH.pack(MARK | LENGTH.size) + LENGTH.pack(step)
                self._unmarked = False

    def flush_soon(self) -> None:
        """Waits for what is there to be written, but not for a service that is away."""
        if self._away:
            return
        self._failed = False
        deadline = time.monotonic() + _WAIT_S
        while self._buffer and not self._failed and (left_s := deadline - time.monotonic()) > 0:
            self._tried.clear()
            self._wake.set()
            self._tried.wait(left_s)
        self._away = bool(self._buffer)

    def flush(self) -> None:
        super().flush()
        self._away = self._away and bool(self._buffer)


class Attempt:
    """The collector of one attempt."""

    def __init__(self, summaries: TrialSummaries, number: int, attempt: int) -> None:
        self._summaries = summaries
        self._key = number, attempt

    def add(self, event: bytes) -> None:
        self._summaries.add(*self._key, event)


def nowhere(number: int, attempt: int, offset: int, data: bytes) -> None:
    """Where they go in a sweep with `tracking: {tensorboard: false}`."""
