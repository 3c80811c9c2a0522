"""Numbers, times and states in words, the same in every command."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

SPARKS = "▁▂▃▄▅▆▇█"
STATE_STYLES = {
    "queued": "dim",
    "pending": "dim",
    "running": "cyan",
    "paused": "blue",
    "succeeded": "green",
    "completed": "green",
    "pruned": "yellow",
    "cancelled": "yellow",
    "failed": "red",
}
ALGORITHMS = {
    "auto": "TPE/GP",
    "tpe": "TPE",
    "gp": "GP",
    "cmaes": "CMA-ES",
    "qmc": "quasi-random search",
    "random": "random search",
    "grid": "grid search",
}


def number(value: Any) -> str:
    """Three to four significant digits: what tells two trials apart in a table."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return str(value)
    return _real(value)


def _real(value: float) -> str:
    size = abs(value)
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    if size < 1e-2 or size >= 1e6:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{mantissa}e{int(exponent)}"
    if size >= 1000:
        return f"{value:.0f}"
    return f"{value:.4f}" if size < 1 else f"{value:.4g}"


def duration(seconds: float) -> str:
    """`48 s`, `6 min`, `2 h 05 min`, `3 d 4 h`."""
    whole = max(0, round(seconds))
    if whole < 90:
        return f"{whole} s"
    minutes = round(whole / 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24} h"


def ago(then: datetime | None, now: datetime | None = None) -> str:
    if then is None:
        return "–"
    return f"{duration(((now or datetime.now(UTC)) - then).total_seconds())} ago"


def sparkline(values: Sequence[float], width: int = 12) -> str:
    """The last `width` values as bars; the scale is their own."""
    shown = [value for value in values if math.isfinite(value)][-width:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    span = (high - low) or 1.0
    return "".join(SPARKS[round((value - low) / span * (len(SPARKS) - 1))] for value in shown)


def bar(done: float, width: int) -> tuple[str, str]:
    """The filled and the empty part of a progress bar, `width` wide together."""
    filled = round(min(max(done, 0.0), 1.0) * width)
    return "▇" * filled, "▁" * (width - filled)


def plural(count: int, noun: str) -> str:
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def flat(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration with the names of parameters: `optimizer/lr`."""
    found: dict[str, Any] = {}
    for key, inner in value.items():
        name = f"{prefix}{key}"
        found |= flat(inner, f"{name}/") if isinstance(inner, dict) else {name: inner}
    return found


_AT_RUNG = re.compile(r"(?:stopped|waits) at ((?:rung|step) \d+): .*(rank \d+ of \d+)")


def short_reason(reason: str | None) -> str:
    """Why a trial ended, without what the table's other columns say."""
    found = _AT_RUNG.match(reason or "")
    return f"{found[1]}: {found[2]}" if found else (reason or "").removeprefix("stopped ").strip()
