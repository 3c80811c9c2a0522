"""How all figures look: one quiet palette for light and dark, one accent, axes, notes, what an empty one says.

Colours are told apart by their lightness first, and kinds of points by their shape as well, so that the figures can be
read with any colour vision and in print.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from toprung.figures.columns import Floats

Figure = dict[str, Any]
"""A figure in plotly's schema: `data` and `layout`, nothing but lists, dicts, text and numbers."""
Theme = Literal["light", "dark"]

_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
CLEAR = "rgba(0,0,0,0)"


@dataclass(frozen=True)
class Palette:
    """The colours of a theme."""

    ink: str
    quiet: str
    line: str
    raised: str
    accent: str
    """What matters most: the best, what goes on, what went far."""
    warm: str
    """What waits."""
    ramp: tuple[str, ...]
    """From what hardly matters to what matters most, in one hue."""

    def scale(self) -> list[list[Any]]:
        """The ramp as plotly's colour scale."""
        return [[place / (len(self.ramp) - 1), colour] for place, colour in enumerate(self.ramp)]

    def steps(self, count: int) -> list[str]:
        """`count` colours along the ramp, the last the strongest."""
        if count == 1:
            return [self.ramp[-1]]
        places = np.linspace(0, len(self.ramp) - 1, count)
        return [_mixed(self.ramp[int(p)], self.ramp[min(int(p) + 1, len(self.ramp) - 1)], p % 1) for p in places]


PALETTES: dict[Theme, Palette] = {
    "light": Palette(
        ink="#1c2430",
        quiet="#5b6675",
        line="#e1e5ea",
        raised="#ffffff",
        accent="#1f5fc4",
        warm="#b26a00",
        ramp=("#b9c6d9", "#8fa9d0", "#5c86c9", "#1f5fc4", "#0b2f78"),
    ),
    "dark": Palette(
        ink="#e6eaf0",
        quiet="#9aa5b4",
        line="#2c3540",
        raised="#1b222b",
        accent="#7db0ff",
        warm="#e6a23c",
        ramp=("#3e4a5c", "#4a6491", "#5c86c9", "#7db0ff", "#d3e4ff"),
    ),
}


def _mixed(one: str, other: str, part: float) -> str:
    pairs = zip(_rgb(one), _rgb(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * part):02x}" for a, b in pairs)


def _rgb(colour: str) -> tuple[int, ...]:
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))


def faded(colour: str, opacity: float) -> str:
    """A colour that lets through what is behind it."""
    return "rgba({},{},{},{:g})".format(*_rgb(colour), opacity)


def axis(palette: Palette, title: str, *, log: bool = False, **more: Any) -> dict[str, Any]:
    """An axis."""
    return {
        "title": {"text": plain(title), "standoff": 8},
        "type": "log" if log else "linear",
        "gridcolor": palette.line,
        "linecolor": palette.line,
        "tickcolor": palette.line,
        "zeroline": False,
        "automargin": True,
        **({"tickformat": "~g", "nticks": 7} if log else {}),
        **more,
    }


def figure(
    palette: Palette,
    name: str,
    data: Sequence[dict[str, Any]],
    note: str | None = None,
    *,
    legend: bool = False,
    meta: dict[str, Any] | None = None,
    **layout: Any,
) -> Figure:
    """A figure.

    Args:
        palette: its colours.
        name: of the figure; while it stays the same, zoom and brush are kept when newer data comes.
        data: the traces.
        note: what has to be said about it: how much of the data is shown, say.
        legend: whether it has one.
        meta: what a program wants to know about it.
        layout: more of the layout, over what is here.
    """
    base: dict[str, Any] = {
        "template": {"data": {"scatter": [{"type": "scatter"}]}},  # none: Python's plotly would put its look under ours
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"color": palette.ink, "family": _FONT, "size": 12},
        "margin": {"l": 56, "r": 16, "t": 28, "b": 44},
        "hoverlabel": {
            "bgcolor": palette.raised,
            "bordercolor": palette.line,
            "font": {"color": palette.ink, "family": _FONT, "size": 12},
            "align": "left",
        },
        "hovermode": "closest",
        "showlegend": legend,
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.01, "yanchor": "bottom", "bgcolor": CLEAR},
        "uirevision": name,
        "meta": {"name": name, "note": note, **(meta or {})},
    }
    base |= layout
    if note:
        base["annotations"] = [*layout.get("annotations", ()), _note(palette, note, below="xaxis" not in layout)]
    return {"data": list(data), "layout": base}


def empty(palette: Palette, name: str, says: str) -> Figure:
    """A figure without anything to show, which says why, and what would change that."""
    hidden = {"visible": False, "fixedrange": True}
    words = {
        "text": plain(says).replace("\n", "<br>"),
        "showarrow": False,
        "x": 0.5,
        "y": 0.5,
        "xref": "paper",
        "yref": "paper",
        "font": {"color": palette.quiet, "size": 13},
    }
    return figure(palette, name, [], meta={"empty": says}, xaxis=hidden, yaxis=hidden, annotations=[words])


def _note(palette: Palette, text: str, *, below: bool) -> dict[str, Any]:
    """Above the figure at the right; below one that has its names above."""
    return {
        "text": plain(text),
        "showarrow": False,
        "x": 1,
        "xref": "paper",
        "xanchor": "right",
        "y": 0 if below else 1,
        "yref": "paper",
        "yanchor": "top" if below else "bottom",
        "yshift": -8 if below else 0,
        "font": {"color": palette.quiet, "size": 11},
    }


def spread(numbers: Floats) -> Floats:
    """A place between 0 and 1 for each number, always the same, evenly spread whichever there are (golden ratio)."""
    return np.modf(numbers * 0.6180339887498949)[0]


def plain(text: str) -> str:
    """Text as it is: plotly takes some HTML in what it shows, and names and reasons are the users'."""
    return html.escape(text, quote=False)


def short(value: Any) -> str:
    """A value in a hover."""
    if value is None:
        return "–"
    return f"{value:.4g}" if isinstance(value, float) else plain(str(value))


def compact(count: int) -> str:
    """A count where there is little room: 999, 1.2k, 42k, 1.4M."""
    for size, unit in ((1_000_000, "M"), (1_000, "k")):
        if count >= size:
            return f"{count / size:.{0 if count >= 10 * size else 1}f}".removesuffix(".0") + unit
    return str(count)


def numbers(values: Floats, digits: int = 6) -> list[float | None]:
    """For JSON: null for what is no number, no more digits than can be seen."""
    return [None if not math.isfinite(value) else float(f"{value:.{digits}g}") for value in values.tolist()]


def robust_range(values: Floats, log: bool, goal: str) -> list[float] | None:
    """What an axis shows at first where a few outliers on the bad side would squash the rest; None: everything."""
    found = values[np.isfinite(values) & ((values > 0) | (not log))]
    if len(found) < 10:
        return None
    scaled = np.log10(found) if log else found
    low, high = float(scaled.min()), float(scaled.max())
    near, far = (float(q) for q in np.quantile(scaled, (0.05, 0.95)))
    if goal == "minimize" and high > far + 2 * (far - low) > low:
        high = far + 0.3 * (far - low)
    elif goal == "maximize" and low < near - 2 * (high - near) < high:
        low = near - 0.3 * (high - near)
    else:
        return None
    margin = 0.04 * (high - low)
    return [low - margin, high + margin]
