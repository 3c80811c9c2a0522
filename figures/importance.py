"""Which parameters matter: Optuna's fANOVA over a sweep's trials."""

from __future__ import annotations

from typing import Any

import numpy as np

from toprung.figures.columns import Floats, Indices, Numbers
from toprung.figures.forest import shares_of
from toprung.figures.look import Figure, axis, empty, figure, plain
from toprung.figures.view import View
from toprung.tuning.spec.parameters import CategoricalParameter, FloatParameter

MOST_TRIALS = 500
"""More tell little more: with 500 of 50,000 a forest takes two seconds of a processor, with 1,000 ten and more."""
FEWEST_TRIALS = 10
_TREES = 32
_WORST = 0.95
"""Values beyond this quantile count as it: one that diverged to 1e12 would be all that a forest learns."""


def trials_of(view: View) -> Indices:
    """The places of the trials that tell: those with a value, an even sample of them."""
    at = np.flatnonzero(view.mask & np.isfinite(view.badness if view.is_objective else view.values))
    if len(at) > MOST_TRIALS:
        at = at[np.linspace(0, len(at) - 1, MOST_TRIALS).round().astype(np.intp)]
    return at


def too_few(view: View, at: Indices) -> str | None:
    """Why there is no importance yet, and what it takes; None: there is."""
    if not len(at):
        return view.nothing()
    if len(at) < FEWEST_TRIALS:
        return f"Importance needs {FEWEST_TRIALS} trials with a value; there are {len(at)}."
    if len(np.unique(view.values[at])) < 2:
        return f"All trials have the same {view.metric_name}: no parameter has made a difference yet."
    if not _varied(view, at):
        return "No parameter has had two different values yet."
    return None


def importances(view: View, at: Indices) -> dict[str, float]:
    """By parameter's column, its share of what makes trials differ. Takes seconds; see `too_few` first.

    A parameter that some trials don't have takes the middle of its values there, or the most frequent one: these
    trials say nothing about it then, and still tell about the others.
    """
    worse = view.values[at] if view.goal == "minimize" else -view.values[at]
    worse = np.minimum(worse, np.quantile(worse, _WORST))
    parameters = {name: _described(view, name, at) for name in _varied(view, at)}
    return shares_of(worse.tolist(), parameters, _TREES)


def _varied(view: View, at: Indices) -> list[str]:
    found = []
    for name in view.params:
        picked = view.columns[name].pick(at)
        if len({(type(value), value) for value in picked if value is not None}) > 1:
            found.append(name)
    return found


def _described(view: View, name: str, at: Indices) -> dict[str, Any]:
    """What a parameter may be, and what it is in each trial."""
    column, of = view.columns[name], view.distribution(name)
    assert of is not None, "these are the spec's parameters"
    if isinstance(of, CategoricalParameter):
        picked = column.pick(at)
        known = [value for value in picked if value is not None]
        usual = max(of.choices, key=known.count)
        choice = {choice: choice for choice in of.choices}
        return {"choices": of.choices, "values": [choice.get(value, usual) for value in picked]}
    assert isinstance(column, Numbers)
    values: Floats = column.values[at]
    values = np.clip(np.where(np.isnan(values), np.nanmedian(values), values), of.low, of.high)
    whole = not isinstance(of, FloatParameter)
    drawn = [round(value) for value in values.tolist()] if whole else values.tolist()
    return {"low": of.low, "high": of.high, "log": of.log, "whole": whole, "values": drawn}


def importance(view: View, shares: dict[str, float], num_trials: int) -> Figure:
    """The shares as bars."""
    palette = view.palette
    ranked = sorted(shares.items(), key=lambda share: share[1])[-20:]
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": [round(share, 4) for _, share in ranked],
        "y": [plain(name) for name, _ in ranked],
        "customdata": [name for name, _ in ranked],
        "text": [f"{share:.0%}" if share >= 0.005 else "<1%" for _, share in ranked],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": palette.accent},
        "hovertemplate": "%{y}: %{x:.1%}<extra></extra>",
    }
    top = max((share for _, share in ranked), default=1.0)
    return figure(
        palette,
        "importance",
        [bars],
        f"fANOVA of {num_trials:,} trials",
        xaxis=axis(palette, f"share of the variance of {view.metric_name}", tickformat=".0%", range=[0, top * 1.15]),
        yaxis=axis(palette, "", type="category", showgrid=False),
        bargap=0.45,
    )


def none_yet(view: View, says: str) -> Figure:
    return empty(view.palette, "importance", says)
