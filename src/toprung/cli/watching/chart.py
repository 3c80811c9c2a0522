"""Learning curves as text: lines of braille, two by four dots to a character, with axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from rich.text import Text

from toprung.cli.words import number

BLANK = 0x2800
DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bit of each dot in a braille character, by row and column."""
LOG_FROM = 10.0
"""Values that differ by a larger factor are drawn on a logarithmic axis."""
SMALLEST = (20, 4)


@dataclass(frozen=True)
class Curve:
    """One trial's objective by step; the first of several is drawn on top."""

    label: str
    style: str
    points: Sequence[tuple[int, float]]


def chart(curves: Sequence[Curve], width: int, height: int) -> Text:
    """The curves with their axes and names, at most `width` by `height`; nothing where that is too small."""
    drawn = [Curve(c.label, c.style, [p for p in c.points if math.isfinite(p[1])]) for c in curves]
    drawn = [curve for curve in drawn if curve.points]
    if not drawn or width < SMALLEST[0] or height < SMALLEST[1]:
        return Text("no curves yet" if width >= SMALLEST[0] and height > 0 else "", "dim")
    values = [value for curve in drawn for _, value in curve.points]
    low, high = min(values), max(values)
    scaled = math.log if low > 0 and high / low > LOG_FROM else float
    steps = [step for curve in drawn for step, _ in curve.points]
    first, last = min(steps), max(steps)
    labels = [number(high), number(low)]
    margin = max(map(len, labels)) + 1
    grid = _Grid(width - margin - 1, height - 2, (first, last), (scaled(low), scaled(high)))
    for curve in drawn:
        grid.draw([(step, scaled(value)) for step, value in curve.points], curve.style)
    lines = []
    for index, row in enumerate(grid.rows()):
        label = labels[0] if index == 0 else labels[1] if index == height - 3 else ""
        lines.append(Text.assemble((f"{label:>{margin - 1}} ▏", "dim"), row))
    lines.append(_foot(first, last, margin, width, logarithmic=scaled is math.log))
    lines.append(_names(drawn, width))
    return Text("\n").join(lines)


class _Grid:
    def __init__(self, width: int, height: int, xs: tuple[float, float], ys: tuple[float, float]) -> None:
        self._bits = [[0] * width for _ in range(height)]
        self._styles = [[""] * width for _ in range(height)]
        self._columns, self._rows = width * 2 - 1, height * 4 - 1
        self._left, self._x_span = xs[0], (xs[1] - xs[0]) or 1
        self._low, self._y_span = ys[0], (ys[1] - ys[0]) or 1

    def draw(self, points: Sequence[tuple[float, float]], style: str) -> None:
        """Join the points by lines."""
        places = [self._place(*point) for point in points]
        self._dot(*places[0], style)
        for (x0, y0), (x1, y1) in pairwise(places):
            length = max(abs(x1 - x0), abs(y1 - y0))
            for i in range(1, length + 1):
                self._dot(x0 + round((x1 - x0) * i / length), y0 + round((y1 - y0) * i / length), style)

    def _place(self, x: float, y: float) -> tuple[int, int]:
        column = round((x - self._left) / self._x_span * self._columns)
        return column, round((1 - (y - self._low) / self._y_span) * self._rows)

    def _dot(self, x: int, y: int, style: str) -> None:
        row, column = y // 4, x // 2
        self._bits[row][column] |= DOTS[y % 4][x % 2]
        self._styles[row][column] = self._styles[row][column] or style

    def rows(self) -> list[Text]:
        made = []
        for bits, styles in zip(self._bits, self._styles, strict=True):
            row = Text()
            for bit, style in zip(bits, styles, strict=True):
                row.append(chr(BLANK + bit) if bit else " ", style)
            made.append(row)
        return made


def _foot(first: int, last: int, margin: int, width: int, *, logarithmic: bool) -> Text:
    start, end = f"step {first}", str(last)
    middle = " log " if logarithmic else ""
    return Text(" " * margin + start + f"{middle:^{max(0, width - margin - len(start) - len(end))}}" + end, "dim")


def _names(curves: Sequence[Curve], width: int) -> Text:
    line = Text()
    for curve in curves:
        if line.cell_len + len(curve.label) + 4 > width:
            break
        line.append("━ ", curve.style).append(f"{curve.label}   ")
    line.rstrip()
    return line
