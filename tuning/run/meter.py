"""What a sweep has used, in time, GPUs and steps, and how much of its budget that is. One thread at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from toprung.tuning.records import Milestone
from toprung.tuning.spec import Failures, SweepSpec

_UNITS = {"wall_time_s": "s of wall time", "gpu_hours": "GPU-hours", "steps": "steps"}
PERCENTS = (50, 80, 100)


class Meter:
    """Counts what running attempts use.

    Args:
        clock: seconds, monotonic.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._started_at = clock()
        self._attempts: dict[int, float] = {}
        self._reports: dict[int, float] = {}
        self._gpu_s = 0.0
        self._steps = 0
        self._told: set[tuple[str, float, int]] = set()

    def take_up(self, elapsed_s: float, gpu_hours: float, steps: int) -> None:
        """What was used before."""
        self._started_at -= elapsed_s
        self._gpu_s += gpu_hours * 3600
        self._steps += steps

    def start(self, number: int) -> None:
        """An attempt of a trial runs."""
        self._attempts[number] = self._reports[number] = self._clock()

    def charge(self, number: int, gpus: float, *, steps: int = 0) -> float:
        """A running attempt has reported. Returns the seconds since its last report times its GPUs."""
        self._steps += steps
        if number not in self._reports:
            return 0.0
        now = self._clock()
        gpu_s = (now - self._reports[number]) * gpus
        self._gpu_s += gpu_s
        self._reports[number] = now
        return gpu_s

    def end(self, number: int, gpus: float) -> float:
        """An attempt is over, if one ran. Returns the same as `charge`."""
        gpu_s = self.charge(number, gpus)
        self._attempts.pop(number, None)
        self._reports.pop(number, None)
        return gpu_s

    def gpu_hours(self, gpus: float) -> float:
        """So far, what runs included."""
        now = self._clock()
        return (self._gpu_s + gpus * sum(now - since for since in self._reports.values())) / 3600

    def spent(self, spec: SweepSpec) -> tuple[list[Milestone], str | None]:
        """What of the budget has been reached since the last call, and why the sweep must end, if it must."""
        budget = spec.budget
        used: dict[str, float] = {
            "wall_time_s": self._clock() - self._started_at,
            "gpu_hours": self.gpu_hours(spec.resources.gpu),
            "steps": self._steps,
        }
        limits = {name: limit for name in used if (limit := getattr(budget, name)) is not None}
        reached, reason = [], None
        for name, limit in limits.items():
            for percent in PERCENTS:
                if used[name] * 100 >= limit * percent and (name, limit, percent) not in self._told:
                    self._told.add((name, limit, percent))
                    reached.append(Milestone(budget=name, percent=percent, used=used[name], limit=limit))
            if used[name] >= limit and reason is None:
                reason = f"the budget of {limit:g} {_UNITS[name]} is used up"
        return reached, reason

    def overdue(self, limits: Failures) -> Iterator[tuple[int, str, bool]]:
        """Running attempts that take too long, or are silent for too long.

        Yields the trial's number, what is wrong, and whether no other attempt may follow.
        """
        now = self._clock()
        for number, started_at in list(self._attempts.items()):
            longest, silence = limits.trial_timeout_s, limits.report_timeout_s
            if longest is not None and now - started_at >= longest:
                yield number, f"took longer than failures.trial_timeout_s, {longest:g} s", True
            elif silence is not None and now - self._reports[number] >= silence:
                yield number, f"reported nothing for failures.report_timeout_s, {silence:g} s", False
