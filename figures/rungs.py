"""The rung view: who was compared where, the cutoffs, who went on, waits or was stopped, and why, in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from toprung.figures.columns import Floats, Indices, Labels, Mask
from toprung.figures.decisions import ACTIONS, Decisions
from toprung.figures.look import Figure, axis, compact, empty, faded, figure, numbers, plain, robust_range, spread
from toprung.figures.view import MOST_POINTS, View
from toprung.tuning.plan import compared_at
from toprung.tuning.records import Action
from toprung.tuning.schedule import asha, median
from toprung.tuning.spec import MedianScheduler, NoScheduler

_NAMES = {Action.PROMOTE: "went on", Action.PAUSE: "waits", Action.STOP: "stopped"}
_SYMBOLS = {Action.PROMOTE: "circle", Action.PAUSE: "diamond", Action.STOP: "x-thin"}
_SPREAD = 0.32
"""How far from its rung a point lies at most, where rungs are 1 apart: beside each other they can be pointed at."""


def rungs(view: View, decisions: Decisions) -> Figure:
    """Each rung's trials by their value there."""
    if isinstance(view.spec.scheduler, NoScheduler):
        return empty(view.palette, "rungs", "This sweep has no early stopping: its scheduler is none.")
    last = decisions.last_of_each
    shown = last.where(_among(view, last["number"])) if view.filter.strip() else last
    if not len(shown):
        return empty(view.palette, "rungs", _nothing(view, len(decisions)))
    levels = _levels(view, shown)
    picked, note = _picked(shown)
    traces = [
        *([] if isinstance(view.spec.scheduler, MedianScheduler) else [_cutoffs(view, decisions, levels)]),
        *(_points(view, shown, picked, action, levels) for action in ACTIONS),
        *_finished(view, levels),
    ]
    log = view.is_log("y")
    return figure(
        view.palette,
        "rungs",
        [trace for trace in traces if trace["x"]],
        note,
        legend=True,
        xaxis=_rung_axis(view, shown, levels),
        yaxis=axis(view.palette, view.spec.metric.name, log=log, **_range(view, shown["value"], log)),
    )


def _nothing(view: View, decided: int) -> str:
    if decided:
        return "The filter leaves no trial that came to a rung."
    first = compared_at(view.spec.scheduler)[0]
    step = "1 step" if first == 1 else f"{first} steps"
    return f"No trial has come to a rung yet: the first one is reached after {step}."


def _among(view: View, trials: Floats) -> Mask:
    """Which of these are trials that the filter leaves. By their place: both are sorted alike, and there are many."""
    at = np.searchsorted(view.columns.numbers, trials)
    there = at < len(view.columns)
    found = np.zeros(len(trials), np.bool_)
    found[there] = view.mask[at[there]] & (view.columns.numbers[at[there]] == trials[there])
    return found


def _levels(view: View, shown: Decisions) -> list[int]:
    """The rungs, rising; the place of one in here is where it is drawn."""
    return sorted({*map(int, np.unique(shown["rung"])), *compared_at(view.spec.scheduler)})


def _picked(shown: Decisions) -> tuple[Indices, str | None]:
    """At most so many of them: whole rungs from the smallest up, then an even sample of each."""
    sizes = {rung: np.flatnonzero(shown["rung"] == rung) for rung in np.unique(shown["rung"])}
    left, picked = MOST_POINTS, []
    for done, at in enumerate(sorted(sizes.values(), key=len)):
        share = max(1, left // (len(sizes) - done))
        some = at if len(at) <= share else at[np.linspace(0, len(at) - 1, share).round().astype(np.intp)]
        picked.append(some)
        left -= len(some)
    found = np.sort(np.concatenate(picked))
    if len(found) == len(shown):
        return found, None
    return found, f"{len(found):,} of {len(shown):,} decisions"


def _x(view: View, rungs: Floats, trials: Floats, levels: list[int]) -> Floats:
    if isinstance(view.spec.scheduler, MedianScheduler):
        return rungs
    # the same trial lies at the same side of each rung, whatever else comes
    aside = spread(trials) * 2 - 1
    return np.searchsorted(levels, rungs) + aside * _SPREAD


def _points(view: View, shown: Decisions, picked: Indices, action: Action, levels: list[int]) -> dict[str, Any]:
    at = picked[shown["action"][picked] == ACTIONS.index(action)]
    palette = view.palette
    words = median.in_words if isinstance(view.spec.scheduler, MedianScheduler) else asha.in_words
    colour = {Action.PROMOTE: palette.accent, Action.PAUSE: palette.warm, Action.STOP: faded(palette.quiet, 0.7)}[
        action
    ]
    return {
        "type": "scatter",
        "mode": "markers",
        "name": _NAMES[action],
        "x": numbers(_x(view, shown["rung"][at], shown["number"][at], levels)),
        "y": numbers(shown["value"][at]),
        "customdata": [int(number) for number in shown["number"][at]],
        "text": [plain(words(shown.record(place))).replace(": ", ":<br>", 1) for place in at.tolist()],
        "marker": {
            "color": colour,
            "symbol": _SYMBOLS[action],
            "size": 6 if action is Action.STOP else 8,
            "line": {"color": colour, "width": 1.25 if action is Action.STOP else 0},
        },
        "hovertemplate": "trial %{customdata} %{text}<extra></extra>",
    }


def _cutoffs(view: View, decisions: Decisions, levels: list[int]) -> dict[str, Any]:
    """The value that it took to go on when each rung decided last."""
    x: list[float | None] = []
    y: list[float | None] = []
    text: list[str | None] = []
    for decision in map(decisions.last_of_rungs.record, range(len(decisions.last_of_rungs))):
        if not decision.places:
            continue
        place, cutoff = levels.index(decision.rung), decision.cutoff
        says = f"cutoff of rung {decision.rung}: {cutoff:.6g}<br>the best {decision.places} of {decision.seen} go on"
        x += [place - 0.42, place, place + 0.42, None]
        y += [cutoff, cutoff, cutoff, None]
        text += [says, says, says, None]
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "cutoff",
        "x": x,
        "y": y,
        "text": text,
        "line": {"color": view.palette.ink, "width": 1.5, "dash": "dot"},
        "hovertemplate": "%{text}<extra></extra>",
    }


def _finished(view: View, levels: list[int]) -> list[dict[str, Any]]:
    """Who was trained to the end: the top rung compares nothing, so that it has no decisions."""
    state = view.columns.standing["state"]
    assert isinstance(state, Labels)
    top = view.spec.scheduler.max_t or 0
    done = view.mask & (state.codes == state.index["completed"]) & (view.columns.floats("step") >= top)
    at, _ = view.chosen(done & np.isfinite(view.columns.floats("value")), 500)
    trials = view.columns.numbers[at]
    reasons = [reason or "trained to its end" for reason in view.columns.standing["reason"].pick(at)]
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "finished",
            "x": numbers(_x(view, np.full(len(at), float(top)), trials, levels)),
            "y": numbers(view.columns.floats("value")[at]),
            "customdata": [int(number) for number in trials],
            "text": [plain(reason) for reason in reasons],
            "marker": {"color": view.palette.accent, "symbol": "star", "size": 9, "opacity": 0.8},
            "hovertemplate": "trial %{customdata} %{text}<br>best %{y:.6g}<extra></extra>",
        }
    ]


def _rung_axis(view: View, shown: Decisions, levels: list[int]) -> dict[str, Any]:
    if isinstance(view.spec.scheduler, MedianScheduler):
        return axis(view.palette, "step", log=view.is_log("x"))
    counts = [int(np.count_nonzero(shown["rung"] == rung)) for rung in levels]
    went_on = ACTIONS.index(Action.PROMOTE)
    on = [int(np.count_nonzero((shown["rung"] == rung) & (shown["action"] == went_on))) for rung in levels]
    texts = [
        f"{rung}<br>{compact(passed)} of {compact(count)}" if count else f"{rung}"
        for rung, count, passed in zip(levels, counts, on, strict=True)
    ]
    return axis(
        view.palette,
        "rung (step), and how many of those that came have gone on",
        tickvals=list(range(len(levels))),
        ticktext=texts,
        range=[-0.5, len(levels) - 0.5],
        tickangle=0,
        showgrid=False,
    )


def _range(view: View, values: Floats, log: bool) -> dict[str, Any]:
    shown = robust_range(values, log, view.goal)
    return {} if shown is None else {"range": shown}
