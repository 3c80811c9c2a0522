"""The learning curves that `toprung simulate --curve` names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from toprung.cli.session import Session
from toprung.cli.specs import read_text
from toprung.cli.words import flat
from toprung.errors import InvalidInput, Problem

if TYPE_CHECKING:
    from toprung.client import SweepHandle
    from toprung.tuning.simulate.curves import Curves
    from toprung.tuning.simulate.recorded import Recording
    from toprung.tuning.spec import SweepSpec

MADE_UP = "power-law"


def choose_curves(session: Session, named: str, spec: SweepSpec, file: Path, problems: list[Problem]) -> Curves | None:
    """The curves; None where they can't be had, and then the reason is among the problems.

    Args:
        named: `power-law`, `sweep:SWEEP`, `table:FILE` or `MODULE:FUNCTION`.
        file: the spec's, next to which a module is looked for.

    Raises:
        ToprungError: no service answers, or it has no such sweep.
    """
    from toprung.tuning.simulate.curves import Function, PowerLaw  # noqa: PLC0415 numpy and SciPy: slow to load
    from toprung.tuning.simulate.recorded import Recorded, read_csv  # noqa: PLC0415

    kind, colon, rest = named.partition(":")
    try:
        if named == MADE_UP:
            return PowerLaw()
        if not colon or not rest:
            raise InvalidInput(f"{named!r} is none of {MADE_UP}, sweep:SWEEP, table:FILE.csv, MODULE:FUNCTION")
        if kind == "sweep":
            return Recorded.of(_of_sweep(session.client.sweep(rest), spec), spec)
        if kind == "table":
            return Recorded.of(read_csv(read_text(Path(rest)), spec), spec)
        folders = [str((file.parent / (spec.code or "")).absolute()), str(Path.cwd())]
        function = Function(named, tuple(folders))
        function.load()
    except (InvalidInput, OSError) as error:
        why = error.detail if isinstance(error, InvalidInput) else f"{error.filename}: {error.strerror}"
        problems.append(Problem("--curve", "cannot_simulate", why))
        return None
    return function


def _of_sweep(sweep: SweepHandle, spec: SweepSpec) -> list[Recording]:
    """What a sweep's trials reported of the spec's metric."""
    from toprung.tuning.simulate.recorded import Recording  # noqa: PLC0415 numpy and SciPy: slow to load

    found, max_t = [], sweep.record.spec.scheduler.max_t
    for trial in sweep.trials():
        results = trial.results()
        values = {result.step: result.metrics.get(spec.metric.name) for result in results}
        numbers = {step: float(value) for step, value in values.items() if isinstance(value, int | float)}
        if not numbers:
            continue
        last = results[-1]
        found.append(
            Recording(
                config=flat(trial.config),
                steps=tuple(numbers),
                values=tuple(numbers.values()),
                # one that came to the end of its own sweep could have gone on
                complete=trial.state == "completed" and (max_t is None or last.step < max_t),
                step_s=last.time_total_s / last.step or None,
            )
        )
    return found


def notes_on(spec: SweepSpec, curves: Curves, named: str, timed: bool) -> list[str]:
    """What a reader should know before trusting the figures."""
    from toprung.tuning.simulate.recorded import Recorded  # noqa: PLC0415 numpy and SciPy: slow to load

    notes = []
    if curves.made_up:
        best = 0 if spec.metric.goal == "minimize" else 1
        notes.append(
            f"The curves are made up ({named}): {best} stands for the best {spec.metric.name} there is, 0.5 for the "
            "median. Values, and when the best is found, are no forecast; costs, durations and rungs depend on the "
            "curves only by how trials rank."
        )
    if isinstance(curves, Recorded):
        notes.append(f"Each trial follows the nearest of {len(curves.recordings)} recorded ones.")
        if (longest := curves.longest) < (spec.scheduler.max_t or 0):
            notes.append(f"None of them went beyond step {longest}: from there on curves stay where they are.")
    if not timed:
        notes.append("How long a step takes is not known: times are in steps. Give --step-s to have hours.")
        ignored = [name for name in ("wall_time_s", "gpu_hours", "cost") if getattr(spec.budget, name) is not None]
        notes += [f"budget.{name} ends nothing here, for the same reason." for name in ignored]
    if curves.made_up and spec.metric.target is not None:
        notes.append("metric.target ends nothing here: the values are made up.")
    return notes
