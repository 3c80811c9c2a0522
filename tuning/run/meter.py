"""What a sweep has used, in time, GPUs and steps, and how much of its budget that is. One thread at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from toprung.tuning.records import Milestone, Trial
from toprung.tuning.spec import Failures, SweepSpec

_UNITS = {"wall_time_s": "s of wall time", "gpu_hours": "GPU-hours", "cost": "for GPU-hours", "steps": "steps"}
PERCENTS = (50, 80, 100)


class Used(NamedTuple):
    """What an attempt has used."""

    gpu_hours: float = 0.0
    cost: float = 0.0

    def plus(self, other: Used) -> Used:
        return Used(self.gpu_hours + other.gpu_hours, self.cost + other.cost)


@dataclass
class _Running:
    started_at: float
    reported_at: float
    gpus: float
    price: float = 0.0
    """Of a GPU-hour where it runs."""


class Meter:
    """Counts what running attempts use.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started_at = clock()
        self._running: dict[int, _Running] = {}
        self._used = Used()
        self._steps = 0
        self._told: set[tuple[str, float, int]] = set()

    def take_up(self, elapsed_s: float, trials: Iterable[Trial]) -> None:
        """What was used before."""
        self._started_at -= elapsed_s
        for trial in trials:
            self._used = self._used.plus(Used(trial.gpu_hours, trial.cost))
            self._steps += trial.step

    def start(self, number: int, gpus: float, price: float) -> None:
        """An attempt of a trial runs on so many GPUs; what a GPU-hour costs there, as far as is known."""
        now = self._clock()
        self._running[number] = _Running(now, now, gpus, price)

    def charge(self, number: int, *, steps: int = 0, price: float | None = None) -> Used:
        """A running attempt has reported. Returns what it has used since its last report.

        Args:
            number: the trial's.
            steps: how much further it came.
            price: of a GPU-hour, where that is known now.
        """
        self._steps += steps
        running = self._running.get(number)
        if running is None:
            return Used()
        if price is not None:
            running.price = price
        used = self._since_report(running)
        running.reported_at = self._clock()
        self._used = self._used.plus(used)
        return used

    def end(self, number: int) -> Used:
        """An attempt is over, if one ran. Returns the same as `charge`."""
        used = self.charge(number)
        self._running.pop(number, None)
        return used

    def used(self) -> Used:
        """So far, what runs included."""
        total = self._used
        for running in self._running.values():
            total = total.plus(self._since_report(running))
        return total

    def _since_report(self, running: _Running) -> Used:
        gpu_hours = (self._clock() - running.reported_at) * running.gpus / 3600
        return Used(gpu_hours, gpu_hours * running.price)

    def spent(self, spec: SweepSpec) -> tuple[list[Milestone], str | None]:
        """What of the budget has been reached since the last call, and why the sweep must end, if it must."""
        reached, reason = [], None
        for name, unit in _UNITS.items():
            limit = getattr(spec.budget, name)
            if limit is None:  # asked for at each turn of Tune's loop: nothing is added up for nobody
                continue
            used = self._used_of(name)
            for percent in PERCENTS:
                if used * 100 >= limit * percent and (name, limit, percent) not in self._told:
                    self._told.add((name, limit, percent))
                    reached.append(Milestone(budget=name, percent=percent, used=used, limit=limit))
            if used >= limit and reason is None:
                reason = f"the budget of {limit:g} {unit} is used up"
        return reached, reason

    def _used_of(self, name: str) -> float:
        match name:
            case "wall_time_s":
                return self._clock() - self._started_at
            case "steps":
                return self._steps
        used: float = getattr(self.used(), name)
        return used

    def overdue(self, limits: Failures) -> Iterator[tuple[int, str, bool]]:
        """Running attempts that take too long, or are silent for too long.

        Yields the trial's number, what is wrong, and whether no other attempt may follow.
        """
        longest, silence = limits.trial_timeout_s, limits.report_timeout_s
        if longest is None and silence is None:
            return
        now = self._clock()
        for number, running in list(self._running.items()):
            if longest is not None and now - running.started_at >= longest:
                yield number, f"took longer than failures.trial_timeout_s, {longest:g} s", True
            elif silence is not None and now - running.reported_at >= silence:
                yield number, f"reported nothing for failures.report_timeout_s, {silence:g} s", False
