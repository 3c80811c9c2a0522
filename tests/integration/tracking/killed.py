"""Tells a home's sweeps to their tracking systems, and kills itself on the way: `python killed.py HOME CALL`.

CALL counts what the systems are called for: the process is gone once that call has done its work, before anything is
noted of it. 0: it lives, and ends when all is told.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from toprung.serve.store import Store
from toprung.serve.tracking.runs import RunSink, RunSinks, RunTracker, run_sinks_of
from toprung.tuning.records import Sweep

calls = count(1)
last = int(sys.argv[2])


class Deadly:
    """Passes calls on to a real sink."""

    def __init__(self, sink: RunSink) -> None:
        self._sink = sink

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._sink, name)
        return self._counted(value) if callable(value) else value

    def _counted(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            done = call(*args)
            if next(calls) == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return counted


def sinks(sweep: Sweep, home: Path) -> RunSinks:
    return {name: lambda make=make: Deadly(make()) for name, make in run_sinks_of(sweep, home).items()}  # type: ignore[misc]


home = Path(sys.argv[1])
store = Store(f"sqlite:///{home}/toprung.db")
tracker = RunTracker(store, home, sinks)
tracker.drain(120)
tracker.close()
store.close()
