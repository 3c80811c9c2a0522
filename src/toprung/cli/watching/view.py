"""What the plain lines know about a sweep: a fold over its events, from the first.

Memory is bounded whatever the sweep's size: one byte per trial, a row for each live one, and for the latest that ended.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toprung.tuning.records import Event, Sweep

STATES = ("pending", "running", "paused", "completed", "pruned", "failed", "cancelled")
FINISHED = frozenset({"completed", "pruned", "failed", "cancelled"})
KEPT_RECENT = 50


@dataclass
class Row:
    """A trial as its line shows it."""

    number: int
    state: str = "pending"
    step: int = 0
    value: float | None = None
    """Best value of the objective so far."""
    best_step: int | None = None
    reason: str | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Change:
    """What an event meant."""

    kind: str
    """sweep | best | trial | warning"""
    row: Row | None = None
    text: str | None = None


class SweepView:
    """The state of one sweep, folded from its events.

    Args:
        sweep: the record; only what doesn't change is taken from it.
    """

    def __init__(self, sweep: Sweep) -> None:
        self.name = sweep.name
        self.minimize = sweep.spec.metric.goal == "minimize"
        self.metric = sweep.spec.metric.name
        self.state = str(sweep.state)
        self.num_trials = sweep.num_trials
        self.best: Row | None = None
        self._folded: Counter[str] = Counter()
        self._codes = bytearray()
        self._live: dict[int, Row] = {}
        self._recent: deque[Row] = deque(maxlen=KEPT_RECENT)

    def apply(self, event: Event) -> list[Change]:
        """Take in one event; event types of newer services change nothing."""
        fold = {
            "sweep.state": self._sweep_state,
            "sweep.edited": self._sweep_edited,
            "trial.state": self._trial_state,
            "trial.results": self._trial_results,
            "budget": self._budget,
            "warning": self._warning,
        }.get(event.type)
        return fold(event.data) if fold else []

    def _sweep_state(self, data: dict[str, Any]) -> list[Change]:
        self.state = str(data["state"])
        return [Change("sweep", text=data.get("reason"))]

    def _sweep_edited(self, data: dict[str, Any]) -> list[Change]:
        self.num_trials = data.get("num_trials")
        return []

    def _trial_state(self, data: dict[str, Any]) -> list[Change]:
        number, state = int(data["number"]), str(data["state"])
        if self._code(number) in FINISHED:
            return []
        row = self._live.setdefault(number, Row(number))
        row.state, row.reason = state, data.get("reason")
        row.step = data.get("step") or row.step
        row.failure = _failure_line(data.get("failure"))
        changes = self._improve(row, data.get("value"), data.get("best_step"))
        self._count(number, state)
        if state not in FINISHED:
            return changes
        del self._live[number]
        self._recent.append(row)
        return [*changes, Change("trial", row)]

    def _trial_results(self, data: dict[str, Any]) -> list[Change]:
        number, value = int(data["number"]), data.get("value")
        row = self._live.get(number) or self._just_ended(number)
        if row is None:
            return []
        row.step = max(row.step, data.get("step") or 0)
        if value is None:
            return []
        return self._improve(row, value, data.get("step"))

    def _just_ended(self, number: int) -> Row | None:
        """The last results of a trial may be told after its end: both are written at once."""
        return next((row for row in self._recent if row.number == number), None)

    def _budget(self, data: dict[str, Any]) -> list[Change]:
        used = f"{data['used']:.3g} of {data['limit']:.3g}"
        return self._warning({"message": f"{data['percent']} % of budget.{data['budget']} is used: {used}"})

    def _warning(self, data: dict[str, Any]) -> list[Change]:
        text = str(data.get("message") or data)
        return [Change("warning", text=text)]

    def _improve(self, row: Row, value: float | None, step: int | None) -> list[Change]:
        if value is None or (row.value is not None and not self._better(value, row.value)):
            return []
        row.value, row.best_step = value, step
        if self.best is None or self.best.number == row.number or self._better(value, self.best.value):
            self.best = row
            return [Change("best", row)]
        return []

    def _better(self, left: float, right: float | None) -> bool:
        if right is None:
            return True
        return left < right if self.minimize else left > right

    def _code(self, number: int) -> str | None:
        return STATES[self._codes[number] - 1] if number < len(self._codes) and self._codes[number] else None

    def _count(self, number: int, state: str) -> None:
        if number >= len(self._codes):
            self._codes.extend(bytes(number + 1 - len(self._codes)))
        if before := self._code(number):
            self._folded[before] -= 1
        self._codes[number] = STATES.index(state) + 1
        self._folded[state] += 1

    @property
    def finished(self) -> int:
        """How many trials have ended."""
        return sum(count for state, count in self._folded.items() if state in FINISHED)


def _failure_line(failure: Any) -> str | None:
    if not failure:
        return None
    return str(failure.get("message")) if isinstance(failure, dict) else str(failure)
