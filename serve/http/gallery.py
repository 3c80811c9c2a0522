"""A sweep's figures, made of its columns; what takes long is kept until it is out of date."""

from __future__ import annotations

import asyncio
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
from pydantic_core import from_json, to_json

from toprung.figures import importance, progress, rungs, space
from toprung.figures.columns import Floats
from toprung.figures.look import Figure
from toprung.figures.view import View
from toprung.serve.http.columns import ColumnCache, Look
from toprung.serve.store import Store
from toprung.tuning.records import Sweep

_MOST_ANSWERS = 64
_MOST_SPARKS = 500
_MOST_CURVES = 2_000
_MOST_IMPORTANCES = 32
_GROWTH = 1.1
"""Importance is worked out again when there are so many times as many trials: it takes seconds and changes slowly."""

T = TypeVar("T")


class Lru(Generic[T]):
    """The values that were asked for last, at most so many. Can be used from several threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._values: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable) -> T | None:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Hashable, value: T) -> None:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._most:
                self._values.popitem(last=False)

    def pop(self, key: Hashable) -> None:
        with self._lock:
            self._values.pop(key, None)


class Gallery:
    """Draws; the caller closes it.

    Args:
        store: of results and standings.
        columns: of trials.
    """

    def __init__(self, store: Store, columns: ColumnCache) -> None:
        self._store = store
        self._columns = columns
        self._answers: Lru[bytes] = Lru(_MOST_ANSWERS)
        self._sparks: Lru[tuple[int, list[list[float]]]] = Lru(_MOST_SPARKS)
        self._curves: Lru[tuple[float, Floats, Floats]] = Lru(_MOST_CURVES)
        self._importances: Lru[tuple[int, Future[dict[str, float]]]] = Lru(_MOST_IMPORTANCES)
        # one at a time: each has a process that works for seconds
        self._foresters = ThreadPoolExecutor(1, "importance")

    def close(self) -> None:
        self._foresters.shutdown(wait=False, cancel_futures=True)

    def drawn(self, sweep: Sweep, look: Look, view: View, name: str, *of: str | None) -> bytes:
        """A figure but `importance` as JSON. Run in a thread.

        Raises:
            Malformed: of what the view or `of` (parameters) name.
        """
        key = (sweep.id, look.last_event, sweep.revision, name, view.filter, view.metric, view.log, view.theme, of)
        found = self._answers.get(key)
        if found is None:
            found = as_json(self._draw(sweep, view, name, *of))
            self._answers.put(key, found)
        return found

    async def importance(self, sweep: Sweep, view: View) -> bytes:
        """The figure `importance` as JSON. Those who ask for the same wait for one answer, and hold no thread."""
        at = importance.trials_of(view)
        if (says := importance.too_few(view, at)) is not None:
            return as_json(importance.none_yet(view, says))
        key = (sweep.id, view.filter, view.metric_name)
        count = int(np.count_nonzero(view.mask & np.isfinite(view.values)))
        kept = self._importances.get(key)
        if kept is None or not kept[0] <= count < kept[0] * _GROWTH:
            kept = (count, self._foresters.submit(importance.importances, view, at))
            self._importances.put(key, kept)
        try:
            shares = await asyncio.shield(asyncio.wrap_future(kept[1]))
        except Exception:
            self._importances.pop(key)
            raise
        return as_json(importance.importance(view, shares, min(kept[0], importance.MOST_TRIALS)))

    def spark(self, sweep: Sweep) -> list[list[float]]:
        """The best value so far in a few points: of a list of sweeps each is asked for its own."""
        last = self._store.bulk.last_event(sweep.id)
        kept = self._sparks.get(sweep.id)
        if kept is None or kept[0] != last:
            kept = (last, progress.spark(self._store.bulk.standings(sweep.id), sweep.spec.metric.goal))
            self._sparks.put(sweep.id, kept)
        return kept[1]

    def _draw(self, sweep: Sweep, view: View, name: str, parameter: str | None, parameter2: str | None) -> Figure:
        drawings: dict[str, Callable[[], Figure]] = {
            "best": lambda: progress.best(view),
            "curves": lambda: self._draw_curves(sweep, view),
            "rungs": lambda: rungs.rungs(view, self._columns.decisions(sweep)),
            "parallel": lambda: space.parallel(view),
            "slice": lambda: space.slice_of(view, parameter),
            "contour": lambda: space.contour(view, parameter, parameter2),
        }
        return drawings[name]()

    def _draw_curves(self, sweep: Sweep, view: View) -> Figure:
        choice = progress.choose_curves(view)
        metric, numbers = view.metric_name, choice.numbers(view)
        if metric != sweep.spec.metric.name:
            _ = view.values  # says so where there is no such metric
        steps = dict(zip(numbers, view.columns.floats("step")[choice.at].tolist(), strict=True))
        curves: dict[int, tuple[Floats, Floats]] = {}
        for number in numbers:
            kept = self._curves.get((sweep.id, number, metric, choice.every))
            if kept is not None and kept[0] == steps[number]:
                curves[number] = kept[1:]
        new = self._read_curves(sweep.id, [n for n in numbers if n not in curves], metric, choice.every)
        for number, (x, y) in new.items():
            self._curves.put((sweep.id, number, metric, choice.every), (steps[number], x, y))
        return progress.curves(view, choice, curves | new)

    def _read_curves(
        self, sweep_id: str, numbers: list[int], metric: str, every: int
    ) -> dict[int, tuple[Floats, Floats]]:
        rows = list(self._store.bulk.results(sweep_id, numbers, every))
        if not rows:
            return {}
        found = from_json("[" + ",".join(row[2] for row in rows) + "]")
        values = np.array([_number(metrics.get(metric)) for metrics in found], np.float64)
        trials = np.array([row[0] for row in rows])
        steps = np.array([row[1] for row in rows], np.float64)
        edges = np.flatnonzero(np.diff(trials)) + 1
        parts = zip(np.split(trials, edges), np.split(steps, edges), np.split(values, edges), strict=True)
        return {int(trial[0]): (x, y) for trial, x, y in parts}


def as_json(found: object) -> bytes:
    """JSON, with null for what is no number."""
    return to_json(found, inf_nan_mode="null")


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else np.nan
