"""Trials as the cells of a table that fits a width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.text import Text

from toprung.cli.words import STATE_STYLES, number, plural, short_reason, sparkline

if TYPE_CHECKING:
    from toprung.tuning.records import Sweep, Trial

NOTE_WIDTH = 22
"""Columns kept free for a sparkline or a reason, as long as there is one to show."""
GAP = 2
"""Columns that the table puts around each cell."""
MAX_METRICS = 3


@dataclass(frozen=True)
class Column:
    """A column before it is laid out."""

    title: str
    cells: list[Text]
    right: bool = True
    given: int | None = None
    """Its width, whatever the cells hold."""

    @property
    def width(self) -> int:
        if self.given is not None:
            return max(self.given, GAP + 1)
        return max([cell_len(self.title), *(cell.cell_len for cell in self.cells)]) + GAP


def columns(
    sweep: Sweep, trials: Sequence[Trial], histories: Mapping[int, Sequence[float]], width: int
) -> list[Column]:
    """The columns that fit; the last one is the note, whose title says what had to be left out."""
    best = sweep.best.number if sweep.best else None
    metric = sweep.spec.metric.name
    shown = [
        Column("#", [Text(str(trial.number), _lead(trial, best)) for trial in trials]),
        Column("state", [Text(trial.state, STATE_STYLES.get(trial.state, "")) for trial in trials], right=False),
        Column("step", [Text(str(trial.step)) for trial in trials]),
        Column(metric, [Text(number(trial.value), _lead(trial, best)) for trial in trials]),
    ]
    note = Column("", [_note(trial, histories) for trial in trials], right=False)
    room = width - sum(column.width for column in shown) - min(note.width, NOTE_WIDTH + GAP)
    wanted = [*_params(sweep, trials), *_metrics(metric, trials)]
    hidden = 0
    for column in wanted:
        if column.width <= room:
            shown.append(column)
            room -= column.width
        else:
            hidden += 1
    title = f"+ {plural(hidden, 'column')}" if hidden else ""
    # as wide as what is left: it changes the most, and the table stays where it is
    return [*shown, Column(title, note.cells, right=False, given=room + min(note.width, NOTE_WIDTH + GAP))]


def _lead(trial: Trial, best: int | None) -> str:
    return "bold green" if trial.number == best else ""


def _params(sweep: Sweep, trials: Sequence[Trial]) -> list[Column]:
    made = []
    for name in (parameter.name for parameter in sweep.spec.space.parameters):
        values = [trial.params.get(name, "") for trial in trials]
        words = any(isinstance(value, str) and value for value in values)
        made.append(Column(name, [Text(number(value)) for value in values], right=not words))
    return made


def _metrics(objective: str, trials: Sequence[Trial]) -> list[Column]:
    names = dict.fromkeys(name for trial in trials for name in trial.metrics)
    out = ("time_", "training_iteration", "memory/")
    wanted = [name for name in names if name != objective and not name.startswith(out)]
    return [Column(name, [Text(number(trial.metrics.get(name))) for trial in trials]) for name in wanted[:MAX_METRICS]]


def _note(trial: Trial, histories: Mapping[int, Sequence[float]]) -> Text:
    if trial.state == "running":
        return Text(sparkline(histories.get(trial.number, ())))
    if trial.state == "failed":
        return Text(trial.failure.message if trial.failure else trial.reason or "", "dim")
    return Text("" if trial.state == "completed" else short_reason(trial.reason), "dim")
