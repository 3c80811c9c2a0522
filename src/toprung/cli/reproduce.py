"""Running a trial again and saying what came of it: `toprung reproduce`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer
from rich.text import Text

from toprung.cli.session import Session, command
from toprung.cli.sweeps import SweepArgument
from toprung.cli.trials import PANEL, TrialArgument
from toprung.cli.words import plural

if TYPE_CHECKING:
    from toprung.tuning.reproduction import Change, Reproduction

DIFFERS = 1
"""Exit code where the repetition gave something else."""
_MOST_PACKAGES = 10


def reproduce(
    session: Session,
    sweep: SweepArgument,
    trial: TrialArgument,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0, metavar="T", help="Largest difference of the metric that is none.")
    ] = 0.0,
) -> None:
    """Run a trial again and compare what it reports, step by step."""
    handle = session.client.sweep(sweep).trial(trial)
    found = handle.reproduce(tolerance=tolerance, progress=False if session.as_json else None)
    if session.as_json:
        session.emit(found.model_dump(mode="json"))
    else:
        session.out.print(Text(f"{sweep} trial {trial}: {verdict(found)}", "bold"))
        for line in details(found):
            session.out.print(Text(f"  {line}"))
    if not found.same:
        raise typer.Exit(DIFFERS)


def verdict(found: Reproduction) -> str:
    """The one sentence."""
    steps = plural(found.num_steps, "step")
    if found.outcome == "identical":
        return f"identical, {found.metric} is the same bit for bit at {steps}"
    if found.outcome == "within_tolerance":
        return (
            f"within the tolerance: {found.metric} differs by at most {found.largest_difference:.3g} at {steps} "
            f"(--tolerance {found.tolerance:g})"
        )
    assert found.first_difference is not None
    return f"differs from step {found.first_difference.step} of {found.num_steps} on"


def details(found: Reproduction) -> Iterator[str]:
    """What may explain it, a line each."""
    if found.first_difference is not None:
        first = found.first_difference
        again = "nothing" if first.again is None else repr(first.again)
        yield f"step {first.step}: {found.metric} was {first.stored!r}, and is {again}"
    if not found.same and found.largest_difference:
        yield f"largest difference {found.largest_difference:.3g}"
    if found.failure is not None:
        yield f"it ended early this time: {found.failure}"
    if found.attempts > 1:
        begun = ", ".join(f"step {step}" for step in found.later_attempts)
        yield (
            f"the trial had {found.attempts} attempts"
            + (f" (later ones from {begun} on)" if begun else "")
            + "; it was run again in one, with the seed of the first"
        )
    yield from _changes(found.changes)
    yield f"it was run again as {found.again_name} ({found.again_id}), with seed {found.seed}"


def _changes(changes: tuple[Change, ...] | None) -> Iterator[str]:
    if changes is None:
        yield "its surroundings were not recorded"
    elif not changes:
        yield "the surroundings are the same: packages, Python, processor, threads, GPU, code"
    else:
        packages = [change for change in changes if change.what.startswith("packages/")]
        for change in [change for change in changes if change not in packages] + packages[:_MOST_PACKAGES]:
            name = change.what.removeprefix("packages/")
            yield f"changed: {name}, was {change.before or 'none'}, is {change.now or 'none'}"
        if len(packages) > _MOST_PACKAGES:
            yield f"changed: {plural(len(packages) - _MOST_PACKAGES, 'more package')} (--json names them)"


def register(app: typer.Typer) -> None:
    command(app, PANEL)(reproduce)
