"""Tables of sweeps and trials."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from toprung.cli.words import STATE_STYLES, ago, flat, number, short_reason

if TYPE_CHECKING:
    from toprung.tuning.records import BestTrial, Sweep, Trial


def table(*titles: str, right: Sequence[str] = ()) -> Table:
    """A table without lines; columns named in `right` hold numbers."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for title in titles:
        made.add_column(title, justify="right" if title in right else "left", no_wrap=True, overflow="ellipsis")
    return made


def state_text(state: str) -> Text:
    return Text(str(state), STATE_STYLES.get(str(state), ""))


def print_sweeps(out: Console, sweeps: Iterable[Sweep]) -> None:
    made = table("name", "state", "trials", "objective", "best", "created", "id", right=("trials", "best"))
    for sweep in sweeps:
        made.add_row(
            sweep.name,
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


def print_best(out: Console, sweep: Sweep, best: Sequence[BestTrial]) -> None:
    """The best trials with their parameters; a parameter is left out where the terminal is too narrow for it."""
    trials = [item.trial for item in best]
    ranks = {"rank": [str(item.rank) for item in best], "trial": [str(trial.number) for trial in trials]}
    ranks |= {sweep.spec.metric.name: [number(trial.value) for trial in trials]}
    ranks |= {"at step": [number(trial.best_step) for trial in trials]}
    _print_fitting(out, ranks, trials)


def print_trials(out: Console, sweep: Sweep, trials: Sequence[Trial]) -> None:
    columns: dict[str, list[str]] = {
        "#": [str(trial.number) for trial in trials],
        "state": [str(trial.state) for trial in trials],
        "step": [str(trial.step) for trial in trials],
        sweep.spec.metric.name: [number(trial.value) for trial in trials],
    }
    _print_fitting(out, columns, trials, [why(trial) for trial in trials])


def why(trial: Trial) -> str:
    """Why a trial is where it is, short enough for a table."""
    return trial.failure.message if trial.failure else short_reason(trial.reason)


def _print_fitting(
    out: Console, columns: dict[str, list[str]], trials: Sequence[Trial], notes: Sequence[str] = ()
) -> None:
    """Print `columns`, then as many parameters as fit, then the notes in what is left."""
    note_room = min(28, max(map(len, notes), default=0))
    room = out.width - sum(_width(title, cells) for title, cells in columns.items()) - note_room
    shown, hidden = dict(columns), 0
    for name, cells in param_columns(trials).items():
        if _width(name, cells) <= room:
            shown[name] = cells
            room -= _width(name, cells)
        else:
            hidden += 1
    made = table(*shown, right=[title for title in shown if title != "state"])
    if note_room:
        made.add_column("", no_wrap=True, overflow="ellipsis", style="dim")
    for index in range(len(trials)):
        row = [_cell(title, values[index]) for title, values in shown.items()]
        made.add_row(*row, *([Text(notes[index])] if note_room else []))
    out.print(made)
    if hidden:
        out.print(Text(f"{hidden} more parameters with a wider terminal or --json", "dim"))


def _cell(title: str, text: str) -> Text:
    return state_text(text) if title == "state" else Text(text)


def _width(title: str, cells: Sequence[str]) -> int:
    return max(map(len, (title, *cells))) + 2


def param_columns(trials: Sequence[Trial]) -> dict[str, list[str]]:
    """Cells by parameter, in the order of the first trial that has it."""
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    return {name: [_value(trial.params, name) for trial in trials] for name in names}


def _value(params: dict[str, Any], name: str) -> str:
    return number(params[name]) if name in params else ""


def print_mapping(out: Console, values: dict[str, Any], indent: str = "  ") -> None:
    """`name  value` lines, aligned; nested groups flat."""
    shown = flat(values)
    width = max(map(len, shown), default=0)
    for name, value in shown.items():
        text = value if isinstance(value, str) else number(value)
        out.print(Text.assemble(indent, (f"{name:<{width}}", "dim"), "  ", text))
