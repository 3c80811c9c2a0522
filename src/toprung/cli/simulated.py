"""What `toprung simulate` found, in words and as JSON."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

from toprung.cli.forecast import headline
from toprung.cli.tables import table
from toprung.cli.words import number, plural

if TYPE_CHECKING:
    from toprung.tuning.records import Forecast
    from toprung.tuning.simulate.rehearse import Outcome, Rehearsal
    from toprung.tuning.spec import SweepSpec

WIDTH = 80
UNITS = (("d", 48 * 3600, 86_400), ("h", 5400, 3600), ("min", 90, 60), ("s", 0, 1))
"""Name, from how many seconds on, seconds."""


@dataclass(frozen=True)
class Simulation:
    """What was simulated, and how it went.

    Attributes:
        sweep: with its first seed.
        simulated: outcomes over the seeds, for each number of workers.
        unstopped: the same with the most workers and without early stopping; None where there is none.
        notes: what a reader should know.
    """

    sweep: Rehearsal
    forecast: Forecast
    curve: str
    simulated: list[list[Outcome]]
    unstopped: list[Outcome] | None
    notes: list[str]

    @property
    def spec(self) -> SweepSpec:
        return self.sweep.spec

    @property
    def in_seconds(self) -> bool:
        """Whether times are; otherwise they are in steps."""
        return self.sweep.in_seconds


def print_simulation(out: Console, told: Simulation) -> None:
    out.print(Text(" · ".join(headline(told.forecast))))
    out.print(Text(" · ".join(_conditions(told)), "dim"))
    out.print()
    _print_costs(out, told)
    out.print()
    _print_rungs(out, told)
    out.print()
    for line in _findings(told):
        out.print(Text(line), width=min(out.width, WIDTH))
    out.print()
    for line in told.notes:
        out.print(Text(line, "dim"), width=min(out.width, WIDTH))


def as_json(told: Simulation) -> dict[str, Any]:
    kinds = [(True, group) for group in told.simulated] + ([(False, told.unstopped)] if told.unstopped else [])
    return {
        "forecast": told.forecast.model_dump(mode="json"),
        "curve": told.curve,
        "unit": "s" if told.in_seconds else "step",
        "step_s": told.sweep.step,
        "resume": told.sweep.resume,
        "simulations": [
            {
                "workers": group[0].workers,
                "early_stopping": early and told.spec.scheduler.type != "none",
                "outcomes": [{**asdict(one), "utilisation": one.utilisation, "speedup": one.speedup} for one in group],
            }
            for early, group in kinds
        ],
        "notes": told.notes,
    }


def _conditions(told: Simulation) -> list[str]:
    resources = told.spec.resources
    unit = "GPU" if resources.gpu else "CPU"
    parts = [f"{(resources.gpu or resources.cpu) * resources.places:g} {unit} a trial"]
    if told.sweep.step is not None:
        parts.append(f"{told.sweep.step:g} s a step")
    elif told.in_seconds:
        parts.append("steps take as long as recorded")
    if told.sweep.resume:
        parts.append(f"{told.sweep.resume:g} {'s' if told.in_seconds else 'steps'} a start or resume")
    repetitions = len(told.simulated[0])
    parts.append("1 seed" if repetitions == 1 else f"{repetitions} seeds: mean, range")
    return parts


def _print_costs(out: Console, told: Simulation) -> None:
    """A row for each number of workers, and below it the range over the seeds."""
    wall = "wall time" if told.in_seconds else "wall, steps"
    titles = ["workers", wall, _cost_title(told), "busy", "speed-up", "best after", "best value"]
    made = table(*titles, right=titles)
    for group in told.simulated:
        cells = [
            _times([one.wall for one in group], told.in_seconds),
            _numbers(_costs(told, group), rounded=not told.in_seconds),
            _numbers([100 * one.utilisation for one in group], " %", rounded=True),
            _numbers([one.speedup for one in group]),
            _times([one.best_at for one in group if one.best_at is not None], told.in_seconds),
            _values([one.best for one in group if one.best is not None]),
        ]
        made.add_row(Text(f"{group[0].workers:,}"), *(Text(mean) for mean, _ in cells))
        if len(group) > 1:
            made.add_row("", *(Text(spread, "dim") for _, spread in cells))
    out.print(made)


def _print_rungs(out: Console, told: Simulation) -> None:
    """How many trials reach each rung, beside what the forecast expects."""
    rungs = list(told.simulated[0][0].reached)
    pausing = any(one.pauses for group in told.simulated for one in group)
    # a budget may end trials before they come to the first rung
    cut = any([one.trials] != list(one.reached.values())[:1] for group in told.simulated for one in group)
    titles = ["trials to step", *(["0"] if cut else []), *(f"{rung:,}" for rung in rungs), "all steps"]
    titles += ["pauses", "resumes"] if pausing else []
    made = table(*titles, right=titles[1:])
    expected = {plan.rung: plan.trials for plan in told.forecast.rungs}
    if expected:
        steps = told.forecast.expected_steps
        made.add_row(
            Text("expected", "dim"),
            *([f"{told.forecast.num_trials:,}"] if cut else []),
            *(Text(f"{expected[rung]:,}" if rung in expected else "", "dim") for rung in rungs),
            Text("" if steps is None else f"{steps:,}", "dim"),
        )
    for group in told.simulated:
        made.add_row(
            plural(group[0].workers, "worker"),
            *([_mean(one.trials for one in group)] if cut else []),
            *(_mean(one.reached[rung] for one in group) for rung in rungs),
            _mean(one.steps for one in group),
            *([_mean(one.pauses for one in group), _mean(one.resumes for one in group)] if pausing else []),
        )
    out.print(made)


def _findings(told: Simulation) -> list[str]:
    most, in_steps = told.simulated[-1], "" if told.in_seconds else " steps"
    serial = _times([one.busy for one in most], told.in_seconds)[0] + in_steps
    lines = [f"Speed-up is against one worker that does the same: it would take {serial} for the last row."]
    if len(told.simulated) > 1:
        faster = [
            f"{plural(after[0].workers, 'worker')}, {_wall(before) / _wall(after):.1f} times as fast as "
            f"{before[0].workers:,}"
            for before, after in pairwise(told.simulated)
        ]
        lines.append(f"More workers: {'; '.join(faster)}.")
    if told.unstopped:
        wall, cost = (fmean(of) for of in ((one.wall for one in told.unstopped), _costs(told, told.unstopped)))
        best = _values([one.best for one in told.unstopped if one.best is not None])[0]
        lines.append(
            f"Without early stopping: {_mean(one.trials for one in told.unstopped)} trials in "
            f"{_times([wall], told.in_seconds)[0]}{in_steps} with {plural(most[0].workers, 'worker')}, "
            f"{_numbers([cost], rounded=not told.in_seconds)[0]} {_cost_title(told)} "
            f"({cost / fmean(_costs(told, most)):.1f} times as many), best value {best}."
        )
    trials = max(one.trials for one in most)
    if most[0].workers > trials:
        lines.append(f"There are {trials:,} trials: more workers than that gain nothing.")
    if told.sweep.resume:
        shares = [
            told.sweep.resume * (one.trials + one.resumes) / one.busy for group in told.simulated for one in group
        ]
        low, high = round(100 * min(shares)), round(100 * max(shares))
        part = f"{low} %" if low == high else f"{low} to {high} %"
        lines.append(f"Starting and resuming trials takes {part} of the workers' time.")
    return lines


def _cost_title(told: Simulation) -> str:
    unit = "GPU" if told.spec.resources.gpu else "CPU"
    return f"{unit}-hours" if told.in_seconds else f"{unit}-steps"


def _costs(told: Simulation, group: Sequence[Outcome]) -> list[float]:
    resources = told.spec.resources
    each = (resources.gpu or resources.cpu) * resources.places / (3600 if told.in_seconds else 1)
    return [one.busy * each for one in group]


def _wall(group: Sequence[Outcome]) -> float:
    return fmean(one.wall for one in group)


def _times(values: Sequence[float], in_seconds: bool) -> tuple[str, str]:
    """Mean and range, in the unit that suits the mean; steps without a unit."""
    if not in_seconds:
        return _numbers(values, rounded=True)
    mean = fmean(values) if values else 0.0
    unit, divisor = next((name, divisor) for name, low, divisor in UNITS if mean >= low)
    return _numbers([value / divisor for value in values], f" {unit}")


def _numbers(values: Sequence[float], unit: str = "", *, rounded: bool = False) -> tuple[str, str]:
    """Mean and range with three digits, or rounded to whole numbers."""
    if not values:
        return "–", ""
    mean = fmean(values)
    decimals = 0 if rounded or mean >= 100 else 1 if mean >= 10 else 2
    return _span(values, lambda value: f"{value:,.{decimals}f}", unit)


def _values(values: Sequence[float]) -> tuple[str, str]:
    """Of the objective."""
    return _span(values, number, "") if values else ("–", "")


def _span(values: Sequence[float], text: Callable[[float], str], unit: str) -> tuple[str, str]:
    low, high = text(min(values)), text(max(values))
    return f"{text(fmean(values))}{unit}", low if low == high else f"{low}–{high}"


def _mean(counts: Iterable[int]) -> str:
    return f"{fmean(counts):,.0f}"
