"""Sweeps in a notebook: a summary, figures, a data frame.

What these need is not part of the client: it is loaded when it is asked for, and missed in words.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from html import escape
from typing import Any, Generic, Protocol, TypeVar

from toprung.client.effects import Op
from toprung.tuning.records import BestTrial, Sweep

R = TypeVar("R")

_COLOURS = {"running": "#1f5fc4", "succeeded": "#2e7d32", "failed": "#b3261e", "cancelled": "#8a6100"}
_SHOWN_PARAMS = 6


def needed(module: str) -> Any:
    """A module of the extra `notebook`.

    Raises:
        ImportError: it is not installed; says how it is.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = module.partition(".")[0]
        raise ImportError(f'This needs {package}: pip install "toprung[notebook]"') from error


class FigureSource(Protocol):
    """What figures are asked from, `toprung.client.service.Service`."""

    def figure(self, sweep_id: str, name: str, params: dict[str, str | int | None]) -> Op[dict[str, Any]]: ...


class Plots(Generic[R]):
    """The figures of a sweep's page, each a `plotly.graph_objects.Figure` of the sweep as it is now.

    All take `filter` (an expression, `val_loss < 0.2 and optimizer == "adam"`), `metric` (default: the objective),
    `log` (logarithmic axes: "x", "y", "x,y" or ""; default: those of parameters that the spec has so) and `theme`
    ("light" or "dark"). They raise `ImportError` where plotly is not installed.
    """

    def __init__(self, run: Callable[[Op[Any]], R], source: FigureSource, sweep_id: str) -> None:
        self._run = run
        self._source = source
        self._sweep_id = sweep_id

    def best(self, **options: str | None) -> R:
        """Each trial's value, and the best one so far."""
        return self._figure("best", options)

    def curves(self, **options: str | None) -> R:
        """The learning curves, coloured by the rung that was reached."""
        return self._figure("curves", options)

    def rungs(self, **options: str | None) -> R:
        """Each rung's trials and cutoff: who went on, waits or was stopped, and why."""
        return self._figure("rungs", options)

    def parallel(self, **options: str | None) -> R:
        """A line for each trial through its parameters and its value."""
        return self._figure("parallel", options)

    def importance(self, **options: str | None) -> R:
        """How much each parameter matters."""
        return self._figure("importance", options)

    def slice(self, parameter: str | None = None, **options: str | None) -> R:
        """The value over one parameter; the first if none is named."""
        return self._figure("slice", options | {"parameter": parameter})

    def contour(self, parameter: str | None = None, parameter2: str | None = None, **options: str | None) -> R:
        """The value over two parameters; the first two if none are named."""
        return self._figure("contour", options | {"parameter": parameter, "parameter2": parameter2})

    def _figure(self, name: str, options: dict[str, str | None]) -> R:
        plotly = needed("plotly.graph_objects")
        return self._run(_drawn(plotly, self._source.figure(self._sweep_id, name, {**options})))


def _drawn(plotly: Any, op: Op[dict[str, Any]]) -> Op[Any]:
    return plotly.Figure((yield from op))


def frame_of(pandas: Any, columns: Sequence[dict[str, str]], rows: Sequence[Sequence[Any]]) -> Any:
    """A `pandas.DataFrame` of the service's table, by number."""
    frame = pandas.DataFrame(rows, columns=[column["name"] for column in columns])
    for column in columns:
        if column["kind"] == "number":
            frame[column["name"]] = pandas.to_numeric(frame[column["name"]])
    return frame.set_index("number")


class Shown:
    """A place in the notebook whose content changes."""

    def __init__(self) -> None:
        self._display = needed("IPython.display")
        self._handle: Any = None
        self._content = ""

    def show(self, content: str) -> None:
        """Put HTML there, in the place of what there was."""
        if content == self._content:
            return
        self._content = content
        made = self._display.HTML(content)
        if self._handle is None:
            self._handle = self._display.display(made, display_id=True)
        else:
            self._handle.update(made)


def summary(sweep: Sweep, best: Sequence[BestTrial] = ()) -> str:
    """A sweep as HTML; what users have named is escaped."""
    metric = sweep.spec.metric
    finished = sum(count for state, count in sweep.trials.items() if state.finished)
    of = "" if sweep.num_trials is None else f" of {sweep.num_trials:,}"
    facts = [f"{finished:,}{of} trials over", f"{sweep.num_results:,} results"]
    if sweep.gpu_hours:
        facts.append(f"{sweep.gpu_hours:.2f} GPU-hours")
    if sweep.cost:
        facts.append(f"cost {sweep.cost:.2f}")
    states = ", ".join(f"{count:,} {state}" for state, count in sweep.trials.items() if count)
    share = finished / sweep.num_trials if sweep.num_trials else float(sweep.state.finished)
    colour = _COLOURS.get(sweep.state, "#5b6675")
    parts = [
        f"<div><b>{escape(sweep.name)}</b> <span style='color:{colour}'>● {escape(sweep.state)}</span>"
        f" <small>{escape(sweep.id)}</small></div>",
        f"<div style='background:#8884;height:4px;width:24em;max-width:100%;margin:.3em 0'>"
        f"<div style='background:{colour};height:4px;width:{min(share, 1):.1%}'></div></div>",
        f"<div>{escape(' · '.join(facts))}{f' ({escape(states)})' if states else ''}</div>",
    ]
    if sweep.reason:
        parts.append(f"<div>{escape(sweep.reason)}</div>")
    if best:
        parts.append(_table(sweep, best))
    elif sweep.best is not None:
        at = f"trial {sweep.best.number}, step {sweep.best.step}"
        parts.append(f"<div>best {escape(metric.name)} <b>{sweep.best.value:.5g}</b> ({at})</div>")
    else:
        parts.append(f"<div>{escape(metric.goal)} {escape(metric.name)}: no value yet</div>")
    return f"<div class='toprung-sweep'>{''.join(parts)}</div>"


def _table(sweep: Sweep, best: Sequence[BestTrial]) -> str:
    params = list(dict.fromkeys(name for found in best for name in found.trial.params))[:_SHOWN_PARAMS]
    head = ["trial", sweep.spec.metric.name, "step", *params]
    rows = [
        [found.trial.number, found.trial.value, found.trial.best_step, *map(found.trial.params.get, params)]
        for found in best
    ]
    cells = "".join(f"<tr>{''.join(f'<td>{_cell(value)}</td>' for value in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr></thead>{cells}</table>"


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.5g}" if isinstance(value, float) else escape(str(value))
