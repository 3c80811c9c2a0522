"""The space of configurations: parallel coordinates, one parameter, two parameters, and which ones matter."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy.interpolate import griddata
from scipy.spatial import QhullError

from toprung.figures.columns import Column, Floats, Indices, Labels, Numbers
from toprung.figures.filters import quoted
from toprung.figures.look import Figure, axis, empty, faded, figure, numbers, plain, robust_range, short, spread
from toprung.figures.view import MOST_LINES, View
from toprung.tuning.spec.parameters import CategoricalParameter

_MOST_DIMENSIONS = 16
_GRID = 40
_MOST_GRID_POINTS = 500
_CELLS = 12


def parallel(view: View) -> Figure:
    """A line for each trial through its parameters and its value, the better the stronger.

    `layout.meta.dimensions` says of each axis how what is brushed becomes a filter expression.
    """
    at, note = view.chosen(view.mask & np.isfinite(view.values), MOST_LINES)
    if not len(at):
        return empty(view.palette, "parallel", view.nothing())
    # first the worst: the best are drawn over them
    at = at[np.argsort(-np.nan_to_num(_worse(view)[at], nan=np.inf), kind="stable")]
    names = [name for name in view.params if not bool(view.columns[name].null()[at].all())]
    if len(names) > _MOST_DIMENSIONS:
        note = f"{note + '; ' if note else ''}{_MOST_DIMENSIONS} of {len(names)} parameters"
    value_column = "value" if view.is_objective else view.columns.metric_column(view.metric_name)
    axes = [_dimension(view, name, _column(view, name), at) for name in names[:_MOST_DIMENSIONS]]
    last, meta = _dimension(view, value_column, view.columns[value_column], at, log="y" in (view.log or ()))
    axes.append((last | {"label": plain(view.metric_name)}, meta))
    values = _worse(view)[at]
    palette = view.palette
    trace = {
        "type": "parcoords",
        "customdata": [int(number) for number in view.columns.numbers[at]],
        "dimensions": [dimension for dimension, _ in axes],
        "line": {
            "color": numbers(values),
            "colorscale": palette.scale(),
            "reversescale": True,
            "cmin": float(np.min(values)),
            "cmax": float(np.quantile(values, 0.9)) if len(values) > 10 else float(np.max(values)),
            "showscale": False,
        },
        "unselected": {"line": {"color": palette.line, "opacity": 0.25}},
        "labelfont": {"color": palette.ink, "size": 12},
        "tickfont": {"color": palette.quiet, "size": 11},
        "rangefont": {"color": "rgba(0,0,0,0)", "size": 1},
    }
    described = {dimension["name"]: about for dimension, about in axes}
    return figure(
        palette, "parallel", [trace], note, meta={"dimensions": described}, margin={"l": 64, "r": 64, "t": 40, "b": 32}
    )


def _worse(view: View) -> Floats:
    """What is shown, so that less is better."""
    return view.values if view.goal == "minimize" else -view.values


def _column(view: View, name: str) -> Column:
    """A column; a choice of numbers has no more order than one of texts."""
    column = view.columns[name]
    is_choice = isinstance(view.distribution(name), CategoricalParameter)
    return column.as_labels if is_choice and isinstance(column, Numbers) else column


def _dimension(
    view: View, name: str, column: Column, at: Indices, log: bool | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """An axis of the parallel coordinates, and what a program needs to know of it."""
    places, ticks, texts, is_log, levels = _scale(view, name, column, at, log)
    missing = np.isnan(places)
    low, high = (float(np.nanmin(places)), float(np.nanmax(places))) if not missing.all() else (0.0, 1.0)
    margin = (high - low or 1.0) * 0.03
    below = None
    if missing.any():  # a parameter that other parameters switch off
        below = low - (high - low or 1.0) * 0.12
        places = np.where(missing, below, places)
        plain_ticks = ticks or _ticks(low, high)
        ticks, texts = [below, *plain_ticks], ["none", *(texts or [f"{tick:g}" for tick in plain_ticks])]
    dimension: dict[str, Any] = {
        "name": name,
        "label": plain(name),
        "values": numbers(places),
        "range": [(low if below is None else below) - margin, high + margin],
    }
    if ticks:
        dimension |= {"tickvals": ticks, "ticktext": texts}
    return dimension, {"expression": quoted(name), "log": is_log, "levels": levels, "missing": below}


def _scale(
    view: View, name: str, column: Column, at: Indices, log: bool | None = None
) -> tuple[Floats, list[float] | None, list[str] | None, bool, list[Any] | None]:
    """Where values lie on an axis without scales of its own: places, ticks, their texts, whether log, the levels."""
    if isinstance(column, Labels):
        levels = [value for value in _levels(view, name, column) if value is not None]
        place = {value: float(index) for index, value in enumerate(levels)}  # no two choices are equal
        places = np.array([math.nan if value is None else place[value] for value in column.pick(at)], np.float64)
        return places, list(place.values()), [_short_label(value) for value in levels], False, levels
    values = column.values[at]
    positive = values[np.isfinite(values)]
    is_log = (view.is_log_column(name) if log is None else log) and bool(np.all(positive > 0)) and len(positive) > 0
    if not is_log:
        return values, None, None, False, None
    places = np.log10(values)
    ticks, texts = _log_ticks(float(np.nanmin(places)), float(np.nanmax(places)))
    return places, ticks, texts, True, None


def _levels(view: View, name: str, column: Labels) -> list[Any]:
    """In the spec's order; what it hasn't comes after."""
    choices = getattr(view.distribution(name), "choices", ())
    return list(dict.fromkeys((*choices, *column.levels)))


def _short_label(value: Any) -> str:
    text = plain(str(value))
    return text if len(text) <= 24 else f"{text[:23]}…"


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, four to eight of them."""
    if not low < high:
        return [low]
    rough = 10 ** math.floor(math.log10(high - low))
    step = next(rough / part for part in (1, 2, 4, 5, 10) if (high - low) / rough * part >= 4)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(place * step, 12) for place in range(first, last + 1)]


def _log_ticks(low: float, high: float) -> tuple[list[float], list[str]]:
    whole = [float(power) for power in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1)]
    if len(whole) >= 2:
        step = math.ceil(len(whole) / 7)
        return whole[::step], [f"{10**power:.3g}" for power in whole[::step]]
    ticks = [low, (low + high) / 2, high]
    return ticks, [f"{10**power:.3g}" for power in ticks]


def slice_of(view: View, parameter: str | None) -> Figure:
    """The value over one parameter.

    Raises:
        Malformed: there is no such parameter.
    """
    name = view.parameter(parameter, "parameter")
    if name is None:
        return empty(view.palette, "slice", view.nothing())
    column = _column(view, name)
    at, note = view.chosen(view.mask & np.isfinite(view.values) & ~column.null())
    if not len(at):
        return empty(view.palette, "slice", f"No trial with {name} has reported {view.metric_name} yet.")
    palette, log_y = view.palette, view.is_log("y")
    x, x_axis = _cartesian(view, name, column, at, "x")
    trials = [int(number) for number in view.columns.numbers[at]]
    dots = {
        "type": "scatter",
        "mode": "markers",
        "name": "trials",
        "x": numbers(x),
        "y": numbers(view.values[at]),
        "customdata": trials,
        "text": [short(value) for value in column.pick(at)],
        "marker": {"color": faded(palette.accent, 0.45), "size": 6},
        "hovertemplate": f"trial %{{customdata}}<br>{plain(name)} %{{text}}<br>{plain(view.metric_name)} %{{y:.5g}}"
        "<extra></extra>",
    }
    shown = robust_range(view.values[at], log_y, view.goal) if view.is_objective else None
    y_axis = axis(palette, view.metric_name, log=log_y, **({} if shown is None else {"range": shown}))
    return figure(
        palette, "slice", [dots, *_best_dot(view, at, x, view.values[at])], note, xaxis=x_axis, yaxis=y_axis,
        meta={"parameter": name},
    )  # fmt: skip


def _best_dot(view: View, at: Indices, x: Floats, y: Floats) -> list[dict[str, Any]]:
    badness = view.badness[at]
    if np.isnan(badness).all():
        return []
    best = int(np.nanargmin(badness))
    trial = int(view.columns.numbers[at[best]])
    return [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "best",
            "x": numbers(x[best : best + 1]),
            "y": numbers(y[best : best + 1]),
            "customdata": [trial],
            "marker": {
                "color": "rgba(0,0,0,0)",
                "size": 13,
                "line": {"color": view.palette.warm, "width": 2.5},
            },
            "hovertemplate": f"the best: trial {trial}<extra></extra>",
        }
    ]


def _cartesian(view: View, name: str, column: Column, at: Indices, where: str) -> tuple[Floats, dict[str, Any]]:
    """Values for an axis of plotly's, and that axis; what has no order is spread about its tick."""
    palette = view.palette
    if isinstance(column, Labels):
        places, ticks, texts, _, levels = _scale(view, name, column, at)
        aside = (spread(view.columns.numbers[at]) - 0.5) * 0.5
        edges = [-0.5, len(levels or ()) - 0.5]
        return places + aside, axis(palette, name, tickvals=ticks, ticktext=texts, range=edges)
    return column.values[at], axis(palette, name, log=view.is_log(where, view.is_log_column(name)))


def contour(view: View, parameter: str | None, parameter2: str | None) -> Figure:
    """The value over two parameters: as a surface between the trials, or in cells where one has no order.

    Raises:
        Malformed: there is no such parameter, or it is twice the same.
    """
    x_name = view.parameter(parameter, "parameter")
    y_name = view.parameter(parameter2, "parameter2", (x_name,) if x_name else ())
    if x_name is None or y_name is None:
        says = view.nothing() if x_name is None else "This sweep varies one parameter; see its slice."
        return empty(view.palette, "contour", says)
    x_column, y_column = _column(view, x_name), _column(view, y_name)
    there = view.mask & np.isfinite(view.values) & ~x_column.null() & ~y_column.null()
    at, note = view.chosen(there)
    if not len(at):
        says = f"No trial with {x_name} and {y_name} has reported {view.metric_name} yet."
        return empty(view.palette, "contour", says)
    x, x_axis = _cartesian(view, x_name, x_column, at, "x")
    y, y_axis = _cartesian(view, y_name, y_column, at, "y")
    cells = isinstance(x_column, Labels) or isinstance(y_column, Labels) or len(at) < 4
    surface = _cells(view, at, x, y, x_axis, y_axis) if cells else _surface(view, at, x, y, x_axis, y_axis)
    dots = {
        "type": "scatter",
        "mode": "markers",
        "name": "trials",
        "x": numbers(x),
        "y": numbers(y),
        "customdata": [int(number) for number in view.columns.numbers[at]],
        "text": [short(value) for value in view.values[at].tolist()],
        "marker": {"color": faded(view.palette.ink, 0.4), "size": 4},
        "hovertemplate": f"trial %{{customdata}}<br>{plain(view.metric_name)} %{{text}}<extra></extra>",
    }
    return figure(
        view.palette, "contour", [surface, dots, *_best_dot(view, at, x, y)], note, xaxis=x_axis, yaxis=y_axis,
        meta={"parameter": x_name, "parameter2": y_name},
    )  # fmt: skip


def _colours(view: View, values: Floats) -> dict[str, Any]:
    palette = view.palette
    return {
        "colorscale": palette.scale(),
        "reversescale": view.goal == "minimize",
        "zmin": float(np.quantile(values, 0.0 if view.goal == "minimize" else 0.1)),
        "zmax": float(np.quantile(values, 0.9 if view.goal == "minimize" else 1.0)),
        "colorbar": {
            "title": {"text": plain(view.metric_name), "side": "right"},
            "thickness": 10,
            "outlinewidth": 0,
            "tickfont": {"color": palette.quiet},
        },
    }


def _surface(
    view: View, at: Indices, x: Floats, y: Floats, x_axis: Mapping[str, Any], y_axis: Mapping[str, Any]
) -> dict[str, Any]:
    """Linear between the trials (Delaunay), nothing outside of them."""
    u = np.log10(x) if x_axis["type"] == "log" else x
    v = np.log10(y) if y_axis["type"] == "log" else y
    values = view.values[at]
    some = np.linspace(0, len(at) - 1, min(len(at), _MOST_GRID_POINTS)).round().astype(np.intp)
    grid_u, grid_v = np.linspace(u.min(), u.max(), _GRID), np.linspace(v.min(), v.max(), _GRID)
    try:
        points = np.column_stack([u[some], v[some]])
        z = griddata(points, values[some], tuple(np.meshgrid(grid_u, grid_v)), "linear", rescale=True)
    except QhullError:  # all on one line
        return _cells(view, at, x, y, x_axis, y_axis)
    return {
        "type": "contour",
        "x": numbers(10**grid_u if x_axis["type"] == "log" else grid_u),
        "y": numbers(10**grid_v if y_axis["type"] == "log" else grid_v),
        "z": [numbers(row) for row in np.asarray(z, np.float64)],
        "connectgaps": False,
        "contours": {"coloring": "heatmap"},
        "line": {"width": 0},
        "hoverinfo": "skip",
        **_colours(view, values),
    }


def _cells(
    view: View, at: Indices, x: Floats, y: Floats, x_axis: Mapping[str, Any], y_axis: Mapping[str, Any]
) -> dict[str, Any]:
    """The median of the trials in each cell."""
    x_edges, x_place = _binned(x, x_axis)
    y_edges, y_place = _binned(y, y_axis)
    z = np.full((len(y_edges) - 1, len(x_edges) - 1), np.nan)
    values = view.values[at]
    for row, column in {*zip(y_place.tolist(), x_place.tolist(), strict=True)}:
        z[row, column] = np.median(values[(y_place == row) & (x_place == column)])
    return {
        "type": "heatmap",
        "x": numbers(x_edges),
        "y": numbers(y_edges),
        "z": [numbers(row) for row in z],
        "hoverongaps": False,
        "hovertemplate": f"median {plain(view.metric_name)} %{{z:.5g}}<extra></extra>",
        **_colours(view, values),
    }


def _binned(values: Floats, of_axis: Mapping[str, Any]) -> tuple[Floats, Indices]:
    """Edges of the cells, and in which one each value lies."""
    if "tickvals" in of_axis:
        edges = np.arange(len(of_axis["tickvals"]) + 1) - 0.5
    else:
        log = of_axis["type"] == "log"
        low, high = float(values.min()), float(values.max())
        high = high if high > low else low + (abs(low) or 1.0) * 0.1
        edges = np.geomspace(low, high, _CELLS + 1) if log else np.linspace(low, high, _CELLS + 1)
    place = np.clip(np.searchsorted(edges, values, "right") - 1, 0, len(edges) - 2)
    return edges.astype(np.float64), place
