"""Tables of sweeps and trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from toprung.cli.words import STATE_STYLES, ago, flat, number, plural, short_reason

if TYPE_CHECKING:
    from toprung.tuning.records import BestTrial, Sweep, Trial

NOTE_WIDTH = 28
"""Columns kept free for the reason why a trial is in its state."""


def table(*titles: str, right: Sequence[str] = ()) -> Table:
    """A table without lines; columns named in `right` hold numbers."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        made.add_column(title, justify="right" if title in right else "left", no_wrap=True, overflow="ellipsis")
    return made


def state_text(state: str) -> Text:
    return Text(str(state), STATE_STYLES.get(str(state), ""))


def print_sweeps(out: Console, sweeps: Iterable[Sweep]) -> None:
    listed = list(sweeps)
    owned = any(sweep.owner for sweep in listed)
    owner = ["owner"] if owned else []
    made = table("name", *owner, "state", "trials", "objective", "best", "created", "id", right=("trials", "best"))
    for sweep in listed:
        made.add_row(
            sweep.name,
            *([sweep.owner or "–"] if owned else []),
            state_text(sweep.state),
            progress(sweep),
            f"{sweep.spec.metric.goal} {sweep.spec.metric.name}",
            number(sweep.best.value) if sweep.best else "–",
            ago(sweep.created_at),
            Text(sweep.id, "dim"),
        )
    out.print(made)


def progress(sweep: Sweep) -> str:
    """`31/50`: trials that ended, of all."""
    ended = sum(count for state, count in sweep.trials.items() if state.finished)
    return f"{ended:,}/{sweep.num_trials:,}" if sweep.num_trials else f"{ended:,}"


@dataclass(frozen=True)
class Column:
    title: str
    cells: list[Text]
    right: bool = True

    @property
    def width(self) -> int:
        return max([cell_len(self.title), *(cell.cell_len for cell in self.cells)]) + 2


def print_best(out: Console, sweep: Sweep, best: Sequence[BestTrial]) -> None:
    """The best trials with their parameters; a parameter is left out where the terminal is too narrow for it."""
    trials = [item.trial for item in best]
    columns = [
        Column("rank", [Text(str(item.rank)) for item in best]),
        Column("trial", [Text(str(trial.number)) for trial in trials]),
        Column(sweep.spec.metric.name, [Text(number(trial.value)) for trial in trials]),
        Column("at step", [Text(number(trial.best_step)) for trial in trials]),
    ]
    # of trials' memory `toprung show` tells; it says nothing about which is best
    told = (name for item in best for name in item.metrics if not name.startswith("memory/"))
    names = dict.fromkeys(name for name in told if name != sweep.spec.metric.name)
    other = [Column(name, [Text(number(item.metrics.get(name))) for item in best]) for name in names]
    _print_fitting(out, columns, other, trials)


def print_trials(out: Console, sweep: Sweep, trials: Sequence[Trial]) -> None:
    columns = [
        Column("#", [Text(str(trial.number)) for trial in trials]),
        Column("state", [state_text(trial.state) for trial in trials], right=False),
        Column("step", [Text(str(trial.step)) for trial in trials]),
        Column(sweep.spec.metric.name, [Text(number(trial.value)) for trial in trials]),
    ]
    _print_fitting(out, columns, [], trials, [_why(trial) for trial in trials])


def _why(trial: Trial) -> str:
    """Why a trial is where it is, short enough for a table."""
    return trial.failure.message if trial.failure else short_reason(trial.reason)


def _print_fitting(
    out: Console,
    columns: Sequence[Column],
    optional: Sequence[Column],
    trials: Sequence[Trial],
    notes: Sequence[str] = (),
) -> None:
    """Print `columns`, then as many of `optional` and of the parameters as fit, then the notes in what is left."""
    note_room = min(NOTE_WIDTH, max(map(cell_len, notes), default=0))
    room = out.width - sum(column.width for column in columns) - note_room
    shown, wanted = list(columns), [*optional, *_param_columns(trials)]
    for column in wanted:
        if column.width <= room:
            shown.append(column)
            room -= column.width
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in shown:
        made.add_column(Text(column.title), justify="right" if column.right else "left", no_wrap=True)
    if note_room:
        made.add_column("", no_wrap=True, overflow="ellipsis", style="dim")
    for index in range(len(trials)):
        made.add_row(*(column.cells[index] for column in shown), *([Text(notes[index])] if note_room else []))
    out.print(made)
    if hidden := len(columns) + len(wanted) - len(shown):
        out.print(Text(f"{plural(hidden, 'column')} not shown: widen the terminal, or use --json", "dim"))


def _param_columns(trials: Sequence[Trial]) -> list[Column]:
    """A column for each parameter, in the order of the first trial that has it."""
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    return [_param_column(name, trials) for name in names]


def _param_column(name: str, trials: Sequence[Trial]) -> Column:
    words = any(isinstance(trial.params.get(name), str) for trial in trials)
    cells = [Text(number(trial.params[name])) if name in trial.params else Text() for trial in trials]
    return Column(name, cells, right=not words)


def print_mapping(out: Console, values: dict[str, Any], indent: str = "  ") -> None:
    """`name  value` lines, aligned; nested groups flat."""
    shown = flat(values)
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        text = value if isinstance(value, str) else number(value)
        out.print(Text.assemble(indent, (f"{name:<{width}}", "dim"), "  ", text))
