"""The lines above the table: how far the sweep is, its best value, its rungs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.text import Text

from toprung.cli.words import STATE_STYLES, bar, duration, number, plural

if TYPE_CHECKING:
    from toprung.tuning.records import Rung, Sweep

RATE_WINDOW_S = 120.0
BAR_WIDTH = 30
SHOWN = ("running", "pending", "paused", "pruned", "failed", "cancelled")


def head(sweep: Sweep, rungs: Sequence[Rung], left_s: float | None, width: int, now: datetime) -> Text:
    """Two or three lines, none wider than `width`."""
    lines = [_progress(sweep, left_s, width, now), _best(sweep), *_rungs(sweep, rungs)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def finished(sweep: Sweep) -> int:
    """How many trials have ended."""
    return sum(count for state, count in sweep.trials.items() if state.finished)


def elapsed_s(sweep: Sweep, now: datetime) -> float:
    """How long it has been at work."""
    if sweep.started_at is None:
        return 0.0
    return ((sweep.ended_at or now) - sweep.started_at).total_seconds() - sweep.idle_s


class Pace:
    """How fast trials end, from what was seen of the sweep: over the last two minutes, before that since its start."""

    def __init__(self) -> None:
        self._seen: deque[tuple[datetime, int]] = deque()

    def note(self, sweep: Sweep, now: datetime) -> None:
        """Remember how far it is."""
        self._seen.append((now, finished(sweep)))
        while (now - self._seen[0][0]).total_seconds() > RATE_WINDOW_S:
            self._seen.popleft()

    def left_s(self, sweep: Sweep, now: datetime) -> float | None:
        """Seconds until the last trial ends, at that pace and within the sweep's wall time; None: nobody knows."""
        if sweep.state != "running" or sweep.started_at is None:
            return None
        guesses = []
        rate = self._rate(sweep, now)
        if sweep.num_trials and rate:
            guesses.append((sweep.num_trials - finished(sweep)) / rate)
        if limit := sweep.spec.budget.wall_time_s:
            guesses.append(max(0.0, limit - elapsed_s(sweep, now)))
        return min(guesses, default=None)

    def _rate(self, sweep: Sweep, now: datetime) -> float:
        """Trials per second."""
        first = self._seen[0] if self._seen else (now, 0)
        span_s, ended = (now - first[0]).total_seconds(), finished(sweep) - first[1]
        if span_s < RATE_WINDOW_S / 4 or ended <= 0:
            span_s, ended = elapsed_s(sweep, now), finished(sweep)
        return ended / span_s if span_s > 0 else 0.0


def _progress(sweep: Sweep, left_s: float | None, width: int, now: datetime) -> Text:
    ended, total = finished(sweep), sweep.num_trials
    line = Text.assemble((sweep.name, "bold"), "  ", (str(sweep.state), STATE_STYLES.get(sweep.state, "")), "  ")
    line.append(f"{ended:,}/{total:,} trials" if total else plural(ended, "trial"))
    time = duration(elapsed_s(sweep, now)) + (f", {duration(left_s)} left" if left_s is not None else "")
    if not total:
        return line.append(f"  {time}")
    done = min(1.0, ended / total)
    percent = f"{done:4.0%}"
    room = width - line.cell_len - len(percent) - len(time) - 5
    if room >= 6:
        full, empty = bar(done, min(room, BAR_WIDTH))
        line.append("  ").append(full, "green").append(empty, "dim")
    return line.append(f" {percent}  {time}")


def _best(sweep: Sweep) -> Text:
    metric, line = sweep.spec.metric.name, Text()
    if sweep.best is None:
        line.append(f"no {metric} yet", "dim")
    else:
        line.append(f"best {metric} ").append(number(sweep.best.value), "bold green")
        line.append(f" (trial {sweep.best.number}, step {sweep.best.step})")
    counts = {str(state): count for state, count in sweep.trials.items()}
    for state in SHOWN:
        if counts.get(state):
            line.append("  ").append(f"{counts[state]:,} {state}", STATE_STYLES[state])
    return line


def _rungs(sweep: Sweep, rungs: Sequence[Rung]) -> list[Text]:
    if not rungs or sweep.spec.scheduler.type != "asha":
        return []
    line = Text("rung", "dim")
    for rung in rungs:
        line.append(f"  {rung.rung} ", "bold").append(f"▏{rung.seen:,} seen {rung.promoted:,} on")
    top = getattr(sweep.spec.scheduler, "max_t", None)
    if top is not None and top > rungs[-1].rung:
        ended = sum(count for state, count in sweep.trials.items() if state == "completed")
        line.append(f"  {top} ", "bold").append(f"▏{ended:,} finished")
    return [line]
