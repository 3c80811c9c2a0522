"""What is made of regret curves: ratios to a baseline with intervals, and a plot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import geometric_mean

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Curves = Mapping[tuple[str, str, str], Array]
"""(contender, setting, problem) -> regret (seeds, marks); the last mark is the end of the budget."""

TINY = 1e-3
"""Added to regrets before ratios are taken: below it differences are noise."""
_RESAMPLES = 1_000


def ratio(curves: Curves, contender: str, baseline: str, setting: str, problem: str, part: float) -> float:
    """Mean regret after a part of the budget, to the baseline's after the same part."""
    ours, theirs = (_after(curves[name, setting, problem], part) for name in (contender, baseline))
    return float((ours.mean() + TINY) / (theirs.mean() + TINY))


def mean_ratio(
    curves: Curves, contender: str, baseline: str, places: Sequence[tuple[str, str]], part: float
) -> tuple[float, float, float]:
    """The geometric mean of `ratio` over (setting, problem) pairs, and its 95 % interval.

    The interval is that of the seeds alone: the percentile bootstrap (Efron 1979), in which contender and baseline keep
    the same seeds. Other problems would move the mean further than that.
    """
    at = [[_after(curves[name, *place], part) for name in (contender, baseline)] for place in places]
    seeds = len(at[0][0])
    draws = np.random.default_rng(0).integers(seeds, size=(_RESAMPLES, seeds))
    drawn = [np.log((ours[draws].mean(1) + TINY) / (theirs[draws].mean(1) + TINY)) for ours, theirs in at]
    low, high = np.exp(np.quantile(np.mean(drawn, axis=0), [0.025, 0.975]))
    return geometric_mean(ratio(curves, contender, baseline, *place, part) for place in places), float(low), float(high)


def _after(regrets: Array, part: float) -> Array:
    """(seeds,) regret after a part of the budget."""
    after: Array = regrets[:, round(part * regrets.shape[1]) - 1]
    return after


def part_to_final(curves: Curves, contender: str, baseline: str, setting: str, problem: str) -> float:
    """The part of the budget until the mean regret is as low as the baseline's at the end; 1 where it never is."""
    ours, theirs = curves[contender, setting, problem].mean(0), curves[baseline, setting, problem].mean(0)
    reached = np.flatnonzero(ours <= theirs[-1] + TINY / 10)
    return float(reached[0] + 1) / len(ours) if reached.size else 1.0


def plot(curves: Curves, contenders: Sequence[str], problems: Sequence[str], file: Path) -> None:
    """Geometric means of regret over the problems against the budget, a panel a setting."""
    try:
        from matplotlib import pyplot  # noqa: PLC0415  only for plots
    except ImportError:
        raise SystemExit("a plot needs matplotlib: pip install matplotlib") from None
    settings = sorted({setting for _, setting, _ in curves}, reverse=True)
    figure, panels = pyplot.subplots(1, len(settings), figsize=(5 * len(settings), 4), sharey=True, squeeze=False)
    for panel, setting in zip(panels[0], settings, strict=True):
        for contender in contenders:
            regrets = [curves[contender, setting, problem].mean(0) + TINY for problem in problems]
            mean = np.exp(np.mean(np.log(regrets), axis=0))
            panel.plot(np.arange(1, len(mean) + 1) / len(mean) * 100, mean, label=contender)
        panel.set(title=setting, xlabel="budget used, %", yscale="log")
        panel.grid(visible=True, which="both", alpha=0.2)
    panels[0][0].set_ylabel("normalised regret")
    panels[0][-1].legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(file)
