"""How a sweep gets better: the best value so far, and the trials' learning curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from toprung.figures.columns import Floats, Indices, Labels, Mask
from toprung.figures.look import Figure, axis, empty, faded, figure, numbers, plain, robust_range, spread
from toprung.figures.view import View
from toprung.tuning.plan import compared_at

MOST_CURVES = 200
MOST_RESULTS = 100_000
"""That are read for the curves: fewer trials are shown where they report more."""
_MOST_POINTS = 20_000
_GL_FROM = 6_000
"""Points from which WebGL draws them: below, SVG is sharper and starts faster."""


def best(view: View) -> Figure:
    """Each trial's value, and the best one so far."""
    shown = view.mask & np.isfinite(view.values)
    name = view.metric_name
    if not shown.any():
        return empty(view.palette, "best", view.nothing())
    at, note = view.chosen(shown)
    palette, log = view.palette, view.is_log("y")
    dots = {
        "type": "scatter",
        "mode": "markers",
        "name": "trials",
        "x": numbers(view.columns.numbers[at]),
        "y": numbers(view.values[at]),
        "customdata": numbers(view.columns.numbers[at]),
        "marker": {"color": faded(palette.quiet, 0.35), "size": 5},
        "hovertemplate": f"trial %{{customdata}}<br>{plain(name)} %{{y:.5g}}<extra></extra>",
    }
    steps = _improvements(view, shown)
    last = np.flatnonzero(shown)[-1]
    line = {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "best so far",
        "x": [*numbers(view.columns.numbers[steps]), float(view.columns.numbers[last])],
        "y": [*numbers(view.values[steps]), *numbers(view.values[steps[-1:]])],
        "customdata": [*numbers(view.columns.numbers[steps]), *numbers(view.columns.numbers[steps[-1:]])],
        "line": {"color": palette.accent, "width": 2, "shape": "hv"},
        "marker": {"color": palette.accent, "size": [*[6] * len(steps), 0]},
        "hovertemplate": f"best: trial %{{customdata}}<br>{plain(name)} %{{y:.5g}}<extra></extra>",
    }
    return figure(
        palette,
        "best",
        [dots, line] if len(steps) else [dots],
        note,
        xaxis=axis(palette, "trial", log=view.is_log("x")),
        yaxis=_value_axis(view, name, view.values[at], log),
    )


def _improvements(view: View, shown: Mask) -> Indices:
    """The trials that were the best when they came, by the objective."""
    badness = np.where(shown & np.isfinite(view.badness), view.badness, np.inf)
    so_far = np.minimum.accumulate(badness)
    return _drops(so_far)


def _drops(so_far: Floats) -> Indices:
    """Where a falling row falls."""
    found: Indices = np.flatnonzero(so_far < np.concatenate([[np.inf], so_far[:-1]]))
    return found


def _value_axis(view: View, name: str, values: Floats, log: bool) -> dict[str, Any]:
    # another metric may be good where it is large or small: nobody has said
    shown = robust_range(values, log, view.goal) if view.is_objective else None
    return axis(view.palette, name, log=log, **({} if shown is None else {"range": shown}))


def spark(standings: Sequence[tuple[int, float]], goal: str, most: int = 60) -> list[list[float]]:
    """The best value so far where it changes, and at the last trial: `[[trial, value], …]`, at most so many points.

    Args:
        standings: number and badness (the value, its sign turned where more is better) of trials, by number.
        goal: of the objective.
        most: points.
    """
    if not standings:
        return []
    trials, badness = np.array(standings, np.float64).T
    so_far = np.minimum.accumulate(badness)
    at = _drops(so_far)
    if not len(at):
        return []
    at = np.union1d(at, [len(trials) - 1])
    if len(at) > most:
        at = at[np.linspace(0, len(at) - 1, most).round().astype(np.intp)]
    values = so_far[at] if goal == "minimize" else -so_far[at]
    return [[int(trial), float(value)] for trial, value in zip(trials[at], values, strict=True)]


@dataclass(frozen=True)
class CurveChoice:
    """Whose curves are shown."""

    at: Indices
    """Places of the trials in the columns."""
    every: int
    """Each how many-th step is read."""
    note: str | None

    def numbers(self, view: View) -> list[int]:
        return [int(number) for number in view.columns.numbers[self.at]]


def choose_curves(view: View, most: int = MOST_CURVES, most_results: int = MOST_RESULTS) -> CurveChoice:
    """The best trials, those that run, and an even sample of the others, as many as can be read quickly."""
    steps = view.columns.floats("step")
    at = np.flatnonzero(view.mask & (steps > 0))
    if not len(at):
        return CurveChoice(at, 1, None)
    state = view.columns.standing["state"]
    assert isinstance(state, Labels)
    running = at[state.codes[at] == state.index["running"]]
    by_value = at[np.argsort(view.badness[at], kind="stable")]
    first = [*by_value[: most // 4], *running[: most // 4]]
    # in an order of which any beginning is an even sample
    evenly = at[np.argsort(spread(np.arange(len(at), dtype=np.float64)), kind="stable")]
    wanted = np.array(list(dict.fromkeys([*first, *evenly[: most * 2]]))[:most], np.intp)
    fits = max(1, int(np.searchsorted(np.cumsum(steps[wanted]), most_results, "right")))
    chosen = np.sort(wanted[:fits])
    every = max(1, int(np.ceil(steps[chosen].sum() / most_results)))
    note = f"{len(chosen):,} of {len(at):,} trials" if len(chosen) < len(at) else None
    if every > 1:
        note = f"{note or ''}, each {every}th step".removeprefix(", ")
    return CurveChoice(chosen, every, note)


def curves(view: View, choice: CurveChoice, results: Mapping[int, tuple[Floats, Floats]]) -> Figure:
    """The metric over the steps, a line for each trial, coloured by the rung that it reached.

    Args:
        view: the sweep.
        choice: of whom.
        results: by trial number steps and values, in the order of the steps.
    """
    palette = view.palette
    there = [place for place in choice.at.tolist() if int(view.columns.numbers[place]) in results]
    if not there:
        return empty(palette, "curves", view.nothing())
    rungs = compared_at(view.spec.scheduler)
    buckets = max(25, _MOST_POINTS // (2 * len(there)))
    groups: dict[tuple[int, bool], list[tuple[int, Floats, Floats]]] = {}
    state = view.columns.standing["state"].pick(np.array(there, np.intp))
    reached = view.columns.floats("step")
    for place, stands in zip(there, state, strict=True):
        number = int(view.columns.numbers[place])
        rung = int(np.searchsorted(rungs, reached[place], "right"))
        thinned = downsampled(*results[number], buckets)
        groups.setdefault((rung, stands in ("pruned", "failed", "cancelled")), []).append((number, *thinned))
    points = sum(len(steps) for lines in groups.values() for _, steps, _ in lines)
    colours = palette.steps(len(rungs) + 1)
    traces = [
        _lines(view, lines, _rung_name(rungs, rung, stopped), colours[rung], stopped, points > _GL_FROM)
        for (rung, stopped), lines in sorted(groups.items(), key=lambda item: (not item[0][1], item[0][0]))
    ]
    values = np.concatenate([found for lines in groups.values() for _, _, found in lines])
    return figure(
        palette,
        "curves",
        traces,
        choice.note,
        legend=len(traces) > 1,
        xaxis=axis(palette, "step", log=view.is_log("x")),
        yaxis=_value_axis(view, view.metric_name, values, view.is_log("y")),
    )


def _rung_name(rungs: Sequence[int], rung: int, stopped: bool) -> str:
    if not rungs:
        return "stopped" if stopped else "trials"
    where = f"rung {rungs[rung - 1]}" if rung else f"below {rungs[0]}"
    return f"{where}, stopped" if stopped else where


def _lines(
    view: View,
    lines: Sequence[tuple[int, Floats, Floats]],
    name: str,
    colour: str,
    stopped: bool,
    gl: bool,
) -> dict[str, Any]:
    """One trace of many lines, with a gap between each two."""
    shown = faded(colour, 0.45) if stopped else colour
    x: list[float | None] = []
    y: list[float | None] = []
    trials: list[int | None] = []
    for number, steps, values in lines:
        x += [*numbers(steps), None]
        y += [*numbers(values), None]
        trials += [*[number] * len(steps), None]
    return {
        "type": "scattergl" if gl else "scatter",
        "mode": "lines" if any(len(steps) > 1 for _, steps, _ in lines) else "markers",
        "name": plain(name),
        "x": x,
        "y": y,
        "customdata": trials,
        "connectgaps": False,
        "line": {"color": shown, "width": 1.25 if stopped else 2},
        "marker": {"color": shown, "size": 5},
        "hovertemplate": f"trial %{{customdata}}<br>step %{{x}}: {plain(view.metric_name)} %{{y:.5g}}<extra>"
        f"{plain(name)}</extra>",
    }


def downsampled(steps: Floats, values: Floats, buckets: int) -> tuple[Floats, Floats]:
    """At most two points for each bucket of steps, its smallest and its largest value, and both ends of the curve."""
    there = np.isfinite(values)
    steps, values = steps[there], values[there]
    if len(steps) <= 2 * buckets + 2:
        return steps, values
    edges = np.linspace(0, len(steps), buckets + 1).astype(np.intp)
    kept = {0, len(steps) - 1}
    for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        part = values[start:end]
        kept |= {start + int(part.argmin()), start + int(part.argmax())}
    at = np.array(sorted(kept), np.intp)
    return steps[at], values[at]
