"""`toprung simulate`: a sweep in virtual time, before a GPU is used."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from toprung.cli.chosen_curves import choose_curves, notes_on
from toprung.cli.session import Session, command
from toprung.cli.simulated import Simulation, as_json, print_simulation
from toprung.cli.specs import read_text
from toprung.errors import InvalidInput, InvalidSpec, Problem, ToprungError

if TYPE_CHECKING:
    from toprung.tuning.simulate.curves import Curves
    from toprung.tuning.simulate.rehearse import Outcome, Rehearsal
    from toprung.tuning.spec import SweepSpec

WORKERS = "8,64,500"
SEEDS, SEEDS_WHEN_LARGE, LARGE = 5, 1, 2_000


def simulate(
    session: Session,
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="The sweep's YAML or JSON file.")],
    workers: Annotated[
        str | None,
        typer.Option("--workers", metavar="N,…", help=f"Trials at once, several to compare; default: {WORKERS}."),
    ] = None,
    curve: Annotated[
        str,
        typer.Option(
            "--curve",
            metavar="CURVES",
            help="power-law (made up), sweep:SWEEP (what its trials reported), table:FILE.csv or MODULE:FUNCTION.",
        ),
    ] = "power-law",
    step_s: Annotated[
        float | None,
        typer.Option("--step-s", metavar="S", help="Seconds a step takes; default: as recorded, else times in steps."),
    ] = None,
    resume_s: Annotated[
        float,
        typer.Option("--resume-s", metavar="S", help="Seconds (or steps) that starting or resuming a trial takes."),
    ] = 0.0,
    max_steps: Annotated[
        int | None, typer.Option("--max-steps", metavar="N", help="End after so many steps over all trials.")
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option("--seeds", metavar="N", help=f"Repetitions; default: {SEEDS}, above {LARGE:,} trials 1."),
    ] = None,
) -> None:
    """Run a spec in virtual time: cost, duration, rungs, and what more workers gain."""
    _check_installed()
    problems: list[Problem] = []
    parsed = _spec(spec, problems)
    counts = _workers(workers, parsed, problems)
    _check_numbers(step_s, resume_s, max_steps, seeds, problems)
    curves = choose_curves(session, curve, parsed, spec, problems) if parsed is not None else None
    if parsed is not None:
        timed = step_s is not None or (curves is not None and curves.step_s(parsed) is not None)
        _check_ends(parsed, curves, timed, max_steps, problems)
    if problems:
        raise InvalidInput(f"{spec} can't be simulated like this.", problems=problems)
    assert parsed is not None
    assert curves is not None
    told = _simulation(session, _sweep(parsed, curves, step_s, resume_s, max_steps), counts, seeds, curve)
    if session.as_json:
        session.emit(as_json(told))
    else:
        print_simulation(session.out, told)


def _check_installed() -> None:
    """Raises:
    ToprungError: only the client is installed.
    """
    try:
        import toprung.tuning.simulate.rehearse  # noqa: F401, PLC0415 numpy, SciPy and Optuna: seconds to load
    except ModuleNotFoundError as error:
        raise ToprungError(
            f"Simulating needs the packages of the search ({error.name} is missing).\n"
            'Install them with: pip install "toprung[server]"'
        ) from None


def _spec(path: Path, problems: list[Problem]) -> SweepSpec | None:
    from toprung.tuning.spec import parse_spec  # noqa: PLC0415 pydantic models: slow to load

    try:
        return parse_spec(read_text(path))
    except InvalidSpec as error:
        problems += error.problems
        return None


def _workers(given: str | None, spec: SweepSpec | None, problems: list[Problem]) -> list[int]:
    limit = math.inf if spec is None or spec.concurrency is None else spec.concurrency
    if given is None:
        return sorted({int(min(int(count), limit)) for count in WORKERS.split(",")})
    try:
        counts = [int(count) for count in given.split(",")]
    except ValueError:
        counts = []
    if not counts or min(counts) < 1:
        problems.append(_wrong("--workers", f"{given!r} must be whole numbers from 1, such as {WORKERS}"))
    elif max(counts) > limit:
        problems.append(
            _wrong(
                "--workers",
                f"{max(counts)} is more than the spec's concurrency ({limit}) allows",
                "ask for fewer, or raise concurrency",
            )
        )
    return sorted(set(counts))


def _check_numbers(
    step_s: float | None, resume_s: float, max_steps: int | None, seeds: int | None, problems: list[Problem]
) -> None:
    if step_s is not None and not 0 < step_s < math.inf:
        problems.append(_wrong("--step-s", f"{step_s:g} must be above 0"))
    if not 0 <= resume_s < math.inf:
        problems.append(_wrong("--resume-s", f"{resume_s:g} must not be below 0"))
    for option, value in (("--max-steps", max_steps), ("--seeds", seeds)):
        if value is not None and value < 1:
            problems.append(_wrong(option, f"{value} must be at least 1"))


def _check_ends(
    spec: SweepSpec, curves: Curves | None, timed: bool, max_steps: int | None, problems: list[Problem]
) -> None:
    from toprung.tuning.plan import num_trials  # noqa: PLC0415 pydantic models: slow to load

    budget = spec.budget
    if curves is not None and curves.made_up and spec.scheduler.max_t is None:
        hint = "set it, or use curves that were recorded"
        problems.append(_wrong("/scheduler/max_t", "missing: nothing says how long a trial is", hint))
    by_time = budget.wall_time_s is not None or (budget.gpu_hours is not None and spec.resources.gpu > 0)
    if max_steps is None and budget.steps is None and num_trials(spec) is None and not (by_time and timed):
        first = "--step-s, so that time can end it, or " if by_time else ""
        message = "bounds neither trials nor steps: the simulation would not end"
        problems.append(_wrong("/budget", message, f"give {first}--max-steps, or budget.trials in the spec"))


def _wrong(where: str, message: str, hint: str | None = None) -> Problem:
    return Problem(where, "cannot_simulate", message, hint)


def _sweep(spec: SweepSpec, curves: Curves, step_s: float | None, resume: float, max_steps: int | None) -> Rehearsal:
    """The sweep with one worker and its first seed."""
    from toprung.tuning.simulate.rehearse import Rehearsal  # noqa: PLC0415 slow to load

    timed = step_s is not None or curves.step_s(spec) is not None
    bounds = [bound for bound in (max_steps, spec.budget.steps) if bound is not None]
    return Rehearsal(spec, curves, 1, spec.search.seed or 0, step_s, resume, timed, min(bounds, default=math.inf))


def _simulation(session: Session, sweep: Rehearsal, counts: Sequence[int], seeds: int | None, named: str) -> Simulation:
    from toprung.tuning.plan import forecast, num_trials  # noqa: PLC0415 pydantic models: slow to load

    repeats = seeds or (SEEDS_WHEN_LARGE if (num_trials(sweep.spec) or 0) > LARGE else SEEDS)
    kinds = [[replace(sweep, workers=workers, seed=sweep.seed + i) for i in range(repeats)] for workers in counts]
    if sweep.spec.scheduler.type != "none":
        kinds.append([repeat.without_early_stopping() for repeat in kinds[-1]])
    outcomes = _run(session, [repeat for kind in kinds for repeat in kind])
    grouped = [outcomes[i : i + repeats] for i in range(0, len(outcomes), repeats)]
    return Simulation(
        sweep=sweep,
        forecast=forecast(sweep.spec),
        curve=named,
        simulated=grouped[: len(counts)],
        unstopped=grouped[-1] if len(grouped) > len(counts) else None,
        notes=notes_on(sweep.spec, sweep.curves, named, sweep.in_seconds),
    )


def _run(session: Session, rehearsals: list[Rehearsal]) -> list[Outcome]:
    """All outcomes; on a terminal with a bar, which is gone afterwards."""
    from toprung.tuning.simulate.rehearse import rehearse_all  # noqa: PLC0415 slow to load

    columns = TextColumn("Simulating"), BarColumn(), MofNCompleteColumn(), TextColumn("sweeps"), TimeElapsedColumn()
    shown = session.err.is_terminal and not session.as_json
    with Progress(*columns, console=session.err, transient=True, disable=not shown) as progress:
        return list(progress.track(rehearse_all(rehearsals), total=len(rehearsals)))


def register(app: typer.Typer) -> None:
    command(app, "Spec")(simulate)
