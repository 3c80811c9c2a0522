"""Watching where stdout is no terminal: one line per thing that happened, no control characters."""

from __future__ import annotations

from toprung.cli.watching.view import Change, Row, SweepView
from toprung.cli.words import number, plural, short_reason


def line(view: SweepView, change: Change) -> str | None:
    """The line for a change."""
    if change.kind == "warning":
        return f"{view.name}: warning: {change.text}"
    if change.kind == "sweep":
        return _sweep(view, change.text)
    row = change.row
    assert row is not None
    if change.kind == "best":
        return f"{view.name}: best {view.metric} {number(row.value)} (trial {row.number}, step {row.best_step})"
    return _trial(view, row)


def _sweep(view: SweepView, reason: str | None) -> str:
    text = f"{view.name}: {view.state}"
    if view.finished:
        text += f", {plural(view.finished, 'trial')} ended"
    return f"{text}: {reason}" if reason else text


def _trial(view: SweepView, row: Row) -> str:
    total = f"/{view.num_trials}" if view.num_trials else ""
    text = f"{view.name}: [{view.finished}{total}] trial {row.number} {row.state} at step {row.step}"
    if row.value is not None:
        text += f", {view.metric} {number(row.value)}"
    if row.state == "completed":
        return text
    why = row.failure if row.state == "failed" else short_reason(row.reason)
    return f"{text}: {why}" if why else text
