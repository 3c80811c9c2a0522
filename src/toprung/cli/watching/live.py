"""Drawing a sweep's view on a terminal of a given size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rich.cells import cell_len, set_cell_size
from rich.text import Text

from toprung.cli.watching.view import FINISHED, SWEEP_FINISHED, Row, SweepView
from toprung.cli.words import STATE_STYLES, bar, duration, number, plural, short_reason, sparkline

NOTE_WIDTH = 22
"""Columns kept free for a sparkline or a reason, as long as there is one to show."""
GAP = 2
RECENT_ROWS = 4


def render(view: SweepView, width: int, height: int, now: datetime) -> Text:
    """The whole picture, at most `width` by `height`."""
    head = [_headline(view, width, now), _best_line(view, now), *_rung_line(view)]
    foot = _foot(view)
    body = _table(view, width, height - len(head) - len(foot) - 2)
    lines = [*head, *body, Text(), *foot][: max(1, height)]
    for line in lines:
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join(lines)


def _headline(view: SweepView, width: int, now: datetime) -> Text:
    left = Text.assemble((view.name, "bold"), "  ", (view.state, STATE_STYLES.get(view.state, "")), "  ")
    left.append(f"{view.finished:,}/{view.num_trials:,} trials" if view.num_trials else plural(view.finished, "trial"))
    time = duration(view.elapsed_s(now))
    if (eta := view.eta_s(now)) is not None:
        time += f", {duration(eta)} left"
    if view.done is None:
        return left.append(f"  {time}")
    percent = f"{view.done:4.0%}"
    room = width - cell_len(left.plain) - len(percent) - len(time) - 7
    if room >= 6:
        full, empty = bar(view.done, min(room, 30))
        left.append("  ").append(full, "green").append(empty, "dim")
    return left.append(f" {percent}  {time}")


def _best_line(view: SweepView, now: datetime) -> Text:
    line = Text()
    if view.best is None:
        line.append(f"no {view.metric} yet", "dim")
    else:
        line.append(f"best {view.metric} ").append(number(view.best.value), "bold green")
        line.append(f" (trial {view.best.number}, step {view.best.best_step})")
    shown = [(state, view.counts[state]) for state in ("running", "paused", "pruned", "failed", "cancelled")]
    for state, count in shown:
        if count:
            line.append("  ").append(f"{count:,} {state}", STATE_STYLES[state])
    if (rate := view.trials_per_min(now)) is not None:
        line.append(f"  {rate:.3g} trials/min")
    return line


def _rung_line(view: SweepView) -> list[Text]:
    if not view.rungs or view.spec.scheduler.type != "asha":
        return []
    line = Text("rung", "dim")
    for rung, count in sorted(view.rungs.items()):
        line.append(f"  {rung} ", "bold").append(f"▏{count.seen:,} seen {count.promoted:,} on", "")
    top = getattr(view.spec.scheduler, "max_t", None)
    if top is not None and top not in view.rungs:
        line.append(f"  {top} ", "bold").append(f"▏{view.counts['completed']:,} finished")
    return [line]


def _foot(view: SweepView) -> list[Text]:
    lines = [Text(f"warning: {text}", "yellow") for text in list(view.warnings)[-1:]]
    if not view.caught_up:
        lines.append(Text("reading the history …", "dim"))
    elif view.state == "paused":
        lines.append(Text(f"paused; toprung resume {view.name} lets it go on. {view.leaving}", "dim"))
    elif view.state not in SWEEP_FINISHED:
        lines.append(Text(view.leaving, "dim"))
    return lines


# -- the table ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Column:
    title: str
    cells: list[str]
    right: bool = True

    @property
    def width(self) -> int:
        return max(cell_len(text) for text in (self.title, *self.cells))

    def cell(self, text: str, width: int) -> str:
        size = cell_len(text)
        if size > width:
            return set_cell_size(text, max(0, width - 1)) + "…"
        return " " * (width - size) + text if self.right else text + " " * (width - size)


def sections(view: SweepView, rows: int) -> list[tuple[str, list[Row]]]:
    """Which trials are worth a line: those that run, the best, the latest that ended or paused; `rows` in all."""
    live = view.live_rows()
    recent = [row for row in view.recent_rows() if row.state in FINISHED] or view.paused_rows()
    live = live[: max(rows - 6, rows // 2)] if len(live) > rows // 2 else live
    shown = {row.number for row in live}
    left = rows - len(live)
    best = [row for row in view.best_rows(left + len(live)) if row.number not in shown]
    best = best[: max(1, left - min(RECENT_ROWS, len(recent)))] if left > 0 else []
    shown |= {row.number for row in best}
    latest = [row for row in recent if row.number not in shown][: max(0, left - len(best))]
    found = [("running", live), ("best", best), ("ended last" if view.recent_rows() else "at a rung", latest)]
    return [(title, chosen) for title, chosen in found if chosen]


def _table(view: SweepView, width: int, height: int) -> list[Text]:
    chosen = sections(view, height - 4)  # a title per section, one line of headings
    rows = [row for _, section in chosen for row in section]
    if not rows or height < 5:
        return [Text(), Text("waiting for the first trial …", "dim")] if not rows else []
    columns, hidden = fit(view, rows, width)
    widths = [column.width for column in columns]
    note_left = width - sum(widths) - GAP * (len(columns) - 1)
    widths[-1] = min(widths[-1], widths[-1] + note_left)
    lines = [_heading(columns, widths, hidden)]
    index = 0
    for title, section in chosen:
        lines.append(Text(title, "dim italic"))
        for row in section:
            lines.append(_line(columns, widths, index, row, view))
            index += 1
    return lines


def fit(view: SweepView, rows: Sequence[Row], width: int) -> tuple[list[Column], int]:
    """The columns that fit, and how many parameters had to be left out; the last column is the note."""
    fixed = [
        Column("#", [str(row.number) for row in rows]),
        Column("state", [row.state for row in rows], right=False),
        Column("step", [str(row.step) for row in rows]),
        Column(view.metric, [number(row.value) for row in rows]),
    ]
    note = Column("", [_note(row) for row in rows], right=False)
    room = width - sum(column.width + GAP for column in fixed) - min(note.width, NOTE_WIDTH)
    params, metrics = _param_columns(view, rows), _metric_columns(view, rows)
    kept: list[Column] = []
    for column in [*params, *metrics]:
        if column.width + GAP <= room:
            kept.append(column)
            room -= column.width + GAP
    shown_params = [column for column in kept if column in params]
    shown_metrics = [column for column in kept if column not in params]
    return [*fixed, *shown_metrics, *shown_params, note], len(params) - len(shown_params)


def _param_columns(view: SweepView, rows: Sequence[Row]) -> list[Column]:
    return [_param_column(name, rows) for name in view.param_names]


def _param_column(name: str, rows: Sequence[Row]) -> Column:
    values = [row.params.get(name, "") for row in rows]
    words = any(isinstance(value, str) and value for value in values)
    return Column(name, [number(value) for value in values], right=not words)


def _metric_columns(view: SweepView, rows: Sequence[Row]) -> list[Column]:
    names = dict.fromkeys(name for row in rows for name in row.metrics)
    wanted = [name for name in names if name != view.metric and not name.startswith(("time_", "training_iteration"))]
    return [Column(name, [number(row.metrics.get(name)) for row in rows]) for name in wanted[:3]]


def _note(row: Row) -> str:
    if row.state == "running":
        return sparkline(row.history)
    if row.state == "failed":
        return row.failure or row.reason or ""
    if row.state in ("pruned", "paused") and row.verdict:
        return row.verdict
    return short_reason(row.reason) if row.state != "completed" else ""


def _heading(columns: Sequence[Column], widths: Sequence[int], hidden: int) -> Text:
    titles = [column.title for column in columns[:-1]]
    cells = [column.cell(title, size) for column, title, size in zip(columns, titles, widths, strict=False)]
    note = f"+ {plural(hidden, 'parameter')}" if hidden else ""
    return Text((" " * GAP).join([*cells, note]), "bold")


def _line(columns: Sequence[Column], widths: Sequence[int], index: int, row: Row, view: SweepView) -> Text:
    line = Text()
    leads = view.best is not None and row.number == view.best.number
    for place, (column, size) in enumerate(zip(columns, widths, strict=True)):
        style = STATE_STYLES.get(row.state, "") if column.title == "state" else ""
        style = "bold green" if leads and column.title in ("#", view.metric) else style
        style = "dim" if place == len(columns) - 1 and row.state != "running" else style
        line.append(column.cell(column.cells[index], size), style).append(" " * GAP)
    line.rstrip()
    return line
