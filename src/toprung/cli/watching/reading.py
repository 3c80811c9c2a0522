"""What the full-screen view reads from the service: pages and what is new, never all of a large sweep."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from toprung.cli.watching.chart import Curve
from toprung.cli.watching.head import Pace

if TYPE_CHECKING:
    from toprung.client import AsyncSweepHandle
    from toprung.tuning.records import Rung, Sweep, Trial

PAGE = 100
"""Trials to read at once: what an answer of the service holds."""
CURVE_STYLES = ("bold green", "cyan", "magenta", "yellow", "blue", "white")
"""A curve for each of so many of the best trials."""
LAST_STEPS = 5_000
"""So much of a curve is read at most."""
HISTORY = 12


class Order(StrEnum):
    """How the table is sorted."""

    RUNNING = "running first"
    BEST = "best first"
    NUMBER = "by number"

    @property
    def next(self) -> Order:
        orders = list(Order)
        return orders[(orders.index(self) + 1) % len(orders)]


class Reading:
    """The sweep as last read. `wanted` says how many trials the table has come to."""

    def __init__(self, handle: AsyncSweepHandle) -> None:
        self.handle = handle
        self.order = Order.RUNNING
        self.wanted = PAGE
        self.rungs: list[Rung] = []
        self.trials: list[Trial] = []
        self.histories: dict[int, deque[float]] = {}
        """The objective at the last steps seen of the trials that run."""
        self.pace = Pace()
        self._best: list[Trial] = []
        self._points: dict[int, list[tuple[int, float]]] = {}
        self._steps: dict[int, int] = {}

    @property
    def sweep(self) -> Sweep:
        return self.handle.record

    @property
    def num_trials(self) -> int:
        """How many trials there are."""
        return sum(self.sweep.trials.values())

    @property
    def curves(self) -> list[Curve]:
        """The best trials' curves, the best first."""
        styled = zip(self._best, CURVE_STYLES, strict=False)
        return [Curve(f"trial {trial.number}", style, self._points.get(trial.number, [])) for trial, style in styled]

    async def refresh(self) -> None:
        """Ask for all of it again.

        Raises:
            ToprungError: as the client does.
        """
        await self.handle.refresh()
        self.pace.note(self.sweep, datetime.now(UTC))
        self.rungs = await self.handle.rungs()
        self.trials = await self._read_trials()
        self._note_histories()
        self._best = [found.trial for found in await self.handle.best_trials(len(CURVE_STYLES))]
        self._points = {trial.number: self._points.get(trial.number, []) for trial in self._best}
        for trial in self._best:
            self._points[trial.number] += await new_points(self.handle, trial, self._points[trial.number])

    async def _read_trials(self) -> list[Trial]:
        if self.order is Order.NUMBER:
            return await self._listed("number")
        best = await self._listed("value")
        if self.order is Order.BEST:
            return best
        running = await self._listed("value", "running")
        numbers = {trial.number for trial in running}
        return [*running, *(trial for trial in best if trial.number not in numbers)][: self.wanted]

    async def _listed(self, order_by: str, state: str | None = None) -> list[Trial]:
        found = self.handle.trials(order_by=order_by, state=state, limit=self.wanted)
        return [trial.record async for trial in found]

    def _note_histories(self) -> None:
        running = {trial.number: trial for trial in self.trials if trial.state == "running"}
        self.histories = {number: self.histories.get(number, deque(maxlen=HISTORY)) for number in running}
        self._steps = {number: self._steps.get(number, 0) for number in running}
        for number, trial in running.items():
            value = trial.metrics.get(self.sweep.spec.metric.name)
            if trial.step > self._steps[number] and isinstance(value, int | float):
                self.histories[number].append(value)
                self._steps[number] = trial.step


async def new_points(handle: AsyncSweepHandle, trial: Trial, known: list[tuple[int, float]]) -> list[tuple[int, float]]:
    """The objective at the steps after those known, at most the last few thousand."""
    last = known[-1][0] if known else max(0, trial.step - LAST_STEPS)
    if trial.step <= last:
        return []
    metric = handle.record.spec.metric.name
    results = await (await handle.trial(trial.number)).results(after_step=last)
    return [
        (result.step, float(value))
        for result in results
        if isinstance(value := result.metrics.get(metric), int | float)
    ]
