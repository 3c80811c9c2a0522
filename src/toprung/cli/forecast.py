"""What a sweep would cost, as `toprung validate` tells it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from toprung.cli.words import ALGORITHMS, duration, plural

if TYPE_CHECKING:
    from toprung.tuning.records import Forecast
    from toprung.tuning.spec import SweepSpec


def print_forecast(out: Console, forecast: Forecast, service: str | None) -> None:
    """`service` is the URL of the one that was asked; None: none was."""
    out.print(Text(" · ".join(headline(forecast))))
    rungs, trials = rung_lines(forecast)
    if rungs:
        out.print(Text(rungs, "dim"))
    out.print(Text("     ".join(part for part in (trials, steps(forecast)) if part)))
    if (cost := costs(forecast)) is not None:
        out.print(Text(cost))
    out.print(Text(slots(forecast, service)))


def headline(forecast: Forecast) -> list[str]:
    spec = forecast.spec
    parts = [spec.name] if spec.name else []
    parts.append(plural(forecast.num_trials, "trial") if forecast.num_trials else "trials until the budget ends")
    return [*parts, method(spec), f"{spec.metric.goal} {spec.metric.name}"]


def method(spec: SweepSpec) -> str:
    algorithm = ALGORITHMS.get(spec.search.algorithm, spec.search.algorithm)
    if spec.scheduler.type == "none":
        return f"{algorithm}, no early stopping"
    if spec.scheduler.type == "median":
        return f"{algorithm} + median stopping rule"
    return f"{algorithm} + ASHA ({spec.scheduler.mode}, η = {spec.scheduler.reduction_factor:g})"


def rung_lines(forecast: Forecast) -> tuple[str, str]:
    """The rung table's two lines, aligned; empty without rungs."""
    if not forecast.rungs:
        return "", ""
    steps = [f"{plan.rung:,}" for plan in forecast.rungs]
    trials = [f"{plan.trials:,}" for plan in forecast.rungs]
    widths = [max(len(step), len(count), 3) + 3 for step, count in zip(steps, trials, strict=True)]
    cells = [
        "".join(f"{cell:>{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in (steps, trials)
    ]
    return f"rung  {cells[0]}", f"trials{cells[1]}"


def steps(forecast: Forecast) -> str:
    if forecast.expected_steps is None:
        return f"at most {plural(forecast.worst_case_steps, 'step')}" if forecast.worst_case_steps is not None else ""
    text = f"≈ {plural(forecast.expected_steps, 'step')}"
    if forecast.worst_case_steps is not None and forecast.worst_case_steps != forecast.expected_steps:
        text += f", at worst {forecast.worst_case_steps:,}"
    if forecast.full_steps is not None and forecast.full_steps != forecast.expected_steps:
        text += f"  (without early stopping: {forecast.full_steps:,})"
    return text


def costs(forecast: Forecast) -> str | None:
    """In time, GPU-hours and money, where an earlier sweep says how long a step takes."""
    if forecast.step_s is None:
        return None
    parts = [f"{forecast.step_s:.3g} s a step, as in {forecast.step_s_from}"]
    if forecast.expected_steps is not None and forecast.slots:
        parts.append(f"≈ {duration(forecast.expected_steps * forecast.step_s / forecast.slots)} on this cluster")
    amounts = [
        (forecast.expected_gpu_hours, forecast.worst_case_gpu_hours, "GPU-hours"),
        (forecast.expected_cost, forecast.worst_case_cost, forecast.currency),
    ]
    for expected, worst, unit in amounts:
        if worst is not None:
            likely = "" if expected is None else f"≈ {expected:.3g} {unit}, "
            parts.append(f"{likely}at worst {worst:.3g} {unit}")
    return " · ".join(parts)


def slots(forecast: Forecast, service: str | None) -> str:
    needs = _needs(forecast.spec)
    if service is None:
        text = f"{needs} · no cluster was asked: `toprung up` starts one here"
    elif forecast.slots is None:
        text = f"{needs} · {service} does not know its cluster's size"
    elif forecast.slots == 0:
        text = f"{needs} · this cluster has no room for a trial"
    else:
        text = f"{needs} · this cluster: {plural(forecast.slots, 'trial')} at once"
    if (limit := forecast.spec.budget.wall_time_s) is not None:
        text += f" · ends after {duration(limit)}"
    return text


def _needs(spec: SweepSpec) -> str:
    resources = spec.resources
    parts = [f"{resources.cpu:g} CPU"]
    if resources.gpu:
        parts.append(f"{resources.gpu:g} {resources.accelerator_type or 'GPU'}")
    if resources.memory_gb:
        parts.append(f"{resources.memory_gb:g} GB")
    who = "a trial takes" if resources.workers is None else f"a trial has {plural(resources.workers, 'worker')} with"
    return f"{who} {', '.join(parts)}{'' if resources.places == 1 else ' each'}"
