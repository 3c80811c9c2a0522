"""Shares over time as an SVG: the running trials of each sweep, and their ideal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 720, 300
LEFT, RIGHT, TOP, BOTTOM = 46, 156, 14, 40
COLOURS = ("#4477aa", "#228833", "#aa8800", "#cc3311", "#aa3377")
TICK_S = 20


def draw(
    times: Sequence[float],
    had: Sequence[Mapping[str, float]],
    fair: Sequence[Mapping[str, float]],
    names: Sequence[str],
    places: int,
) -> str:
    """The file's text: a step line for each sweep, its ideal thin and dashed behind it."""
    begin, end = times[0], times[-1]

    def x(at: float) -> float:
        return LEFT + (at - begin) / (end - begin) * (WIDTH - LEFT - RIGHT)

    def y(count: float) -> float:
        return HEIGHT - BOTTOM - count / places * (HEIGHT - TOP - BOTTOM)

    def path(series: Sequence[Mapping[str, float]], name: str) -> str:
        points, last = [], None
        for at, counts in zip(times, series, strict=True):
            count = counts.get(name, 0.0)
            if count != last:
                points.append(f"H{x(at):.1f}V{y(count):.1f}" if points else f"M{x(at):.1f},{y(count):.1f}")
                last = count
        return "".join(points) + f"H{x(end):.1f}"

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" '
        'font-family="DejaVu Sans, Helvetica, sans-serif" font-size="11">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for count in range(0, places + 1, max(1, places // 4)):
        line = f'x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(count):.1f}" y2="{y(count):.1f}"'
        parts.append(f'<line {line} stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 7}" y="{y(count) + 4:.1f}" text-anchor="end">{count}</text>')
    for second in range(0, int(end - begin) + 1, TICK_S):
        parts.append(
            f'<text x="{x(begin + second):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{second}</text>'
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle:.0f}" y="{HEIGHT - 6}" text-anchor="middle">time, s</text>')
    parts.append(
        f'<text transform="translate(12 {HEIGHT / 2:.0f}) rotate(-90)" text-anchor="middle">running trials</text>'
    )
    for name, colour in zip(names, COLOURS, strict=False):
        dashes = f'stroke="{colour}" stroke-opacity="0.55" stroke-dasharray="4 3"'
        parts.append(f'<path d="{path(fair, name)}" fill="none" {dashes}/>')
        parts.append(f'<path d="{path(had, name)}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
    for i, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        at = TOP + 12 + 18 * i
        parts.append(
            f'<line x1="{WIDTH - RIGHT + 10}" x2="{WIDTH - RIGHT + 28}" y1="{at - 4}" y2="{at - 4}" stroke="{colour}" '
            'stroke-width="2"/>'
        )
        parts.append(f'<text x="{WIDTH - RIGHT + 34}" y="{at}">{name}</text>')
    at = TOP + 12 + 18 * len(names)
    parts.append(f'<text x="{WIDTH - RIGHT + 10}" y="{at}" fill="#666666">dashed: ideal</text>')
    return "\n".join([*parts, "</svg>", ""])
