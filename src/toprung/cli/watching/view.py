"""What the live table knows about a sweep: a fold over its events, without any drawing.

Memory is bounded whatever the sweep's size: one byte per trial, a row for each live one, and for the best and the
latest finished ones. Applying the history from its first event gives the same view as having watched from the start;
until the history is read, counts are those of the sweep's record.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from toprung.cli.words import flat

if TYPE_CHECKING:
    from toprung.tuning.records import BestTrial, Event, Sweep

STATES = ("pending", "running", "paused", "completed", "pruned", "failed", "cancelled")
FINISHED = frozenset({"completed", "pruned", "failed", "cancelled"})
SWEEP_FINISHED = frozenset({"succeeded", "failed", "cancelled"})
KEPT_BEST = 50
KEPT_RECENT = 50
HISTORY = 24
RATE_WINDOW = timedelta(minutes=2)


@dataclass
class Row:
    """A trial as the table shows it."""

    number: int
    state: str = "pending"
    step: int = 0
    value: float | None = None
    """Best value of the objective so far."""
    best_step: int | None = None
    params: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    reason: str | None = None
    verdict: str | None = None
    """The last decision about it, in short."""
    failure: str | None = None
    history: deque[float] = field(default_factory=lambda: deque(maxlen=HISTORY))
    """The objective at the last reports."""


@dataclass
class RungCount:
    seen: int = 0
    promoted: int = 0


@dataclass(frozen=True)
class Change:
    """What an event meant, for those who print lines instead of a table."""

    kind: str
    """sweep | best | trial | warning"""
    row: Row | None = None
    text: str | None = None


class SweepView:
    """The state of one sweep, folded from its events.

    Args:
        sweep: the record at the time the watching starts.
        best: its best trials at that time, so that there is something to show before the history is read.
    """

    def __init__(self, sweep: Sweep, best: list[BestTrial] | None = None) -> None:
        self.name = sweep.name
        self.spec = sweep.spec
        self.minimize = sweep.spec.metric.goal == "minimize"
        self.metric = sweep.spec.metric.name
        self.state = str(sweep.state)
        self.reason = sweep.reason
        self.leaving = ""
        """What Ctrl-C does, for the foot of the picture."""
        self.num_trials = sweep.num_trials
        self.created_at = sweep.created_at
        self.started_at = sweep.started_at
        self.ended_at = sweep.ended_at
        self._rungs: dict[tuple[int, int], RungCount] = {}
        self.warnings: deque[str] = deque(maxlen=3)
        self.best: Row | None = None
        self.param_names = [parameter.name for parameter in sweep.spec.space.parameters]
        self._recorded = Counter({str(state): count for state, count in sweep.trials.items()})
        self._folded: Counter[str] = Counter()
        self._codes = bytearray()
        self._live: dict[int, Row] = {}
        self._best: dict[int, Row] = {}
        self._recent: deque[Row] = deque(maxlen=KEPT_RECENT)
        self._finish_times: deque[datetime] = deque(maxlen=500)
        for item in best or []:
            self._remember_best(_row_of(item.trial))

    # -- folding ------------------------------------------------------------------------------------------------

    def apply(self, event: Event) -> list[Change]:
        """Take in one event; event types of newer services change nothing."""
        fold = {
            "sweep.state": self._sweep_state,
            "sweep.edited": self._sweep_edited,
            "trial.state": self._trial_state,
            "trial.results": self._trial_results,
            "decision": self._decision,
            "budget": self._budget,
            "warning": self._warning,
        }.get(event.type)
        return fold(event.data, event.at) if fold else []

    def _sweep_state(self, data: dict[str, Any], at: datetime) -> list[Change]:
        self.state, self.reason = str(data["state"]), data.get("reason")
        if self.state == "running" and self.started_at is None:
            self.started_at = at
        self.ended_at = at if self.state in SWEEP_FINISHED else None  # it may have been extended
        return [Change("sweep", text=self.reason)]

    def _sweep_edited(self, data: dict[str, Any], _at: datetime) -> list[Change]:
        self.num_trials = data.get("num_trials")
        return []

    def _trial_state(self, data: dict[str, Any], at: datetime) -> list[Change]:
        number, state = int(data["number"]), str(data["state"])
        if self._code(number) in FINISHED:
            return []
        row = self._live.setdefault(number, Row(number))
        if config := data.get("config"):
            values = flat(config)
            row.params = {name: values[name] for name in self.param_names if name in values}
        row.state, row.reason = state, data.get("reason")
        row.step = data.get("step") or row.step
        row.failure = _failure_line(data.get("failure"))
        changes = self._improve(row, data.get("value"), data.get("best_step"))
        self._count(number, state)
        if state not in FINISHED:
            return changes
        del self._live[number]
        self._recent.append(row)
        self._finish_times.append(at)
        return [*changes, Change("trial", row)]

    def _trial_results(self, data: dict[str, Any], _at: datetime) -> list[Change]:
        number, value = int(data["number"]), data.get("value")
        row = self._live.get(number) or self._just_ended(number)
        if row is None:
            return []
        row.step = max(row.step, data.get("step") or 0)
        row.metrics = data.get("metrics") or row.metrics
        if value is None:
            return []
        row.history.append(value)
        return self._improve(row, value, data.get("step"))

    def _just_ended(self, number: int) -> Row | None:
        """The last results of a trial may be told after its end: both are written at once."""
        return next((row for row in self._recent if row.number == number), None)

    def _decision(self, data: dict[str, Any], _at: datetime) -> list[Change]:
        count = self._rungs.setdefault((int(data["rung"]), int(data["bracket"])), RungCount())
        count.seen = max(count.seen, int(data["seen"]))
        count.promoted += data["action"] == "promote"
        trial = int(data["number"])
        if row := self._live.get(trial) or self._just_ended(trial):
            place = "step" if self.spec.scheduler.type == "median" else "rung"
            row.verdict = f"{place} {data['rung']}: rank {data['rank']} of {data['seen']}"
        return []

    def _budget(self, data: dict[str, Any], at: datetime) -> list[Change]:
        used = f"{data['used']:.3g} of {data['limit']:.3g}"
        return self._warning({"message": f"{data['percent']} % of budget.{data['budget']} is used: {used}"}, at)

    def _warning(self, data: dict[str, Any], _at: datetime) -> list[Change]:
        text = str(data.get("message") or data)
        self.warnings.append(text)
        return [Change("warning", text=text)]

    def _improve(self, row: Row, value: float | None, step: int | None) -> list[Change]:
        if value is None or (row.value is not None and not self._better(value, row.value)):
            return []
        row.value, row.best_step = value, step
        return self._remember_best(row)

    def _remember_best(self, row: Row) -> list[Change]:
        assert row.value is not None
        kept = self._best.get(row.number)
        if kept is not None and kept.value is not None and self._better(kept.value, row.value):
            return []  # the history has not yet come to what the record said
        self._best[row.number] = row
        if len(self._best) > 2 * KEPT_BEST:
            self._best = {best.number: best for best in self.best_rows(KEPT_BEST)}
        leader = self.best
        if leader is None or leader.number == row.number or self._better(row.value, leader.value):
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

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def counts(self) -> dict[str, int]:
        """Trials by state. Finished ones only grow, so the larger of record and history is right."""
        counts = {state: max(self._recorded[state], self._folded[state]) for state in FINISHED}
        source = self._folded if self.caught_up else self._recorded
        return counts | {state: source[state] for state in ("pending", "running", "paused")}

    @property
    def rungs(self) -> dict[int, RungCount]:
        """By step, over all brackets."""
        merged: dict[int, RungCount] = {}
        for (rung, _), count in self._rungs.items():
            total = merged.setdefault(rung, RungCount())
            total.seen += count.seen
            total.promoted += count.promoted
        return merged

    @property
    def caught_up(self) -> bool:
        """Whether the history has been read up to where the sweep's record was."""
        return all(self._folded[state] >= self._recorded[state] for state in FINISHED)

    @property
    def finished(self) -> int:
        return sum(count for state, count in self.counts.items() if state in FINISHED)

    @property
    def done(self) -> float | None:
        """Fraction of the trials that ended; None where no number of trials is set."""
        return min(1.0, self.finished / self.num_trials) if self.num_trials else None

    def best_rows(self, count: int) -> list[Row]:
        ranked = sorted(self._best.values(), key=lambda row: (row.value if self.minimize else -row.value, row.number))  # type: ignore[operator]  # rows here have a value
        return ranked[:count]

    def live_rows(self) -> list[Row]:
        """Trials that run, the furthest first, then those that wait for a worker."""
        live = [row for row in self._live.values() if row.state != "paused"]
        return sorted(live, key=lambda row: (row.state != "running", -row.step, row.number))

    def paused_rows(self) -> list[Row]:
        """Trials that wait at a rung, from the highest rung down."""
        paused = [row for row in self._live.values() if row.state == "paused"]
        return sorted(paused, key=lambda row: (-row.step, row.number))

    def recent_rows(self) -> list[Row]:
        """Trials that ended, the latest first."""
        return list(reversed(self._recent))

    def elapsed_s(self, now: datetime) -> float:
        return ((self.ended_at or now) - (self.started_at or self.created_at)).total_seconds()

    def trials_per_min(self, now: datetime) -> float | None:
        """Trials that ended per minute, over the last two minutes of the sweep's life."""
        end = self.ended_at or now
        begin = max(end - RATE_WINDOW, self.started_at or self.created_at)
        if len(self._finish_times) == self._finish_times.maxlen:
            begin = max(begin, self._finish_times[0])
        recent = sum(time >= begin for time in self._finish_times)
        span_s = (end - begin).total_seconds()
        return recent * 60 / span_s if recent and span_s > 0 else None

    def eta_s(self, now: datetime) -> float | None:
        """Seconds until the last trial ends, at the present pace and within the sweep's wall time."""
        if self.state != "running" or self.started_at is None:
            return None
        guesses = []
        if self.num_trials and self.caught_up and (rate := self.trials_per_min(now)):
            guesses.append((self.num_trials - self.finished) / rate * 60)
        if limit := self.spec.budget.wall_time_s:
            guesses.append(max(0.0, limit - self.elapsed_s(now)))
        return min(guesses, default=None)


def _row_of(trial: Any) -> Row:
    row = Row(trial.number, str(trial.state), trial.step, trial.value, trial.best_step, dict(trial.params))
    row.metrics, row.reason = dict(trial.metrics), trial.reason
    row.failure = trial.failure.message if trial.failure else None
    return row


def _failure_line(failure: Any) -> str | None:
    if not failure:
        return None
    return str(failure.get("message")) if isinstance(failure, dict) else str(failure)
