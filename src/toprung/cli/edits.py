"""Commands that change sweeps: edit, extend, retry, stop, enqueue, clone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from toprung.cli.session import Session, command
from toprung.cli.sweeps import SweepArgument
from toprung.cli.words import plural
from toprung.errors import InvalidInput, Malformed

if TYPE_CHECKING:
    from toprung.tuning.records import Sweep

PANEL = "Changing sweeps"

Steps = Annotated[int | None, typer.Option("--steps", min=1, metavar="N", help="Training steps over all trials.")]
WallTime = Annotated[float | None, typer.Option("--wall-time", min=0, metavar="SECONDS", help="Time, pauses left out.")]
GpuHours = Annotated[float | None, typer.Option("--gpu-hours", min=0, metavar="HOURS", help="GPU-hours.")]
Trials = Annotated[int | None, typer.Option("--trials", min=1, metavar="N", help="Trials.")]


def edit(
    session: Session,
    sweep: SweepArgument,
    trials: Trials = None,
    steps: Steps = None,
    wall_time: WallTime = None,
    gpu_hours: GpuHours = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", min=1, metavar="N", help="Most trials at once.")
    ] = None,
    priority: Annotated[int | None, typer.Option("--priority", metavar="N", help="Higher goes first.")] = None,
    weight: Annotated[
        float | None, typer.Option("--weight", metavar="W", help="Share among sweeps of the same priority.")
    ] = None,
) -> None:
    """Change a sweep that has not ended: its budget in all, how many trials run at once, its priority, its weight."""
    budget = _budget(trials, steps, wall_time, gpu_hours)
    given = {"concurrency": concurrency, "priority": priority, "weight": weight, "budget": budget or None}
    changes = {name: value for name, value in given.items() if value is not None}
    if not changes:
        raise InvalidInput("Say what to change, such as --concurrency 8 or --trials 200.")
    record = session.client.sweep(sweep).edit(**changes)
    _answer(session, record, f"{record.name} is changed (revision {record.revision}).")


def extend(
    session: Session,
    sweep: SweepArgument,
    trials: Trials = None,
    steps: Steps = None,
    wall_time: WallTime = None,
    gpu_hours: GpuHours = None,
) -> None:
    """Give a sweep so much more to spend; one that has ended goes on with all that it knows."""
    more = _budget(trials, steps, wall_time, gpu_hours)
    if not more:
        raise InvalidInput("Say what more it gets, such as --trials 50.")
    handle = session.client.sweep(sweep)
    present = handle.record.spec.budget.model_dump(exclude_none=True)
    unbounded = [name for name in more if name not in present]
    if unbounded:
        raise InvalidInput(
            f"{handle.name} has no budget of {' or '.join(unbounded)} to extend; it has one of "
            f"{', '.join(f'{name} {value:g}' for name, value in present.items()) or 'nothing'}."
        )
    record = handle.extend(**{name: present[name] + value for name, value in more.items()})
    _answer(session, record, f"{record.name} is {record.state}, with a budget of {_in_words(record)}.")


def retry(
    session: Session,
    sweep: SweepArgument,
    trials: Annotated[list[int] | None, typer.Argument(metavar="[TRIAL]...", min=0, help="Numbers of trials.")] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that failed and were not tried again yet.")] = False,
    code: Annotated[
        Path | None, typer.Option("--code", metavar="DIR", help="Folder with changed code, for the sweep from now on.")
    ] = None,
) -> None:
    """Try configurations again, as further trials; a sweep that has ended goes on."""
    if bool(trials) == failed:
        raise InvalidInput("Say which: numbers of trials, or --failed for all that failed.")
    before = session.client.sweep(sweep)
    known = before.record.num_trials
    record = before.retry(*(trials or ()), code=code)
    count = f"{plural(record.num_trials - known, 'trial')}" if record.num_trials and known else "its trials"
    _answer(session, record, f"{record.name} is {record.state}, to try {count} again.")


def stop(
    session: Session,
    sweep: SweepArgument,
    trial: Annotated[int, typer.Argument(metavar="TRIAL", min=0, help="The trial's number.")],
) -> None:
    """Stop one trial; the sweep goes on."""
    record = session.client.sweep(sweep).trial(trial).stop()
    if session.as_json:
        session.emit(record.model_dump(mode="json"))
    else:
        how = "is stopped" if record.state.finished else "is being stopped"
        session.out.print(f"Trial {trial} {how}.")


def enqueue(
    session: Session,
    sweep: SweepArgument,
    values: Annotated[
        list[str], typer.Argument(metavar="NAME=VALUE...", help="Values of its parameters; others are drawn at random.")
    ],
) -> None:
    """Ask for a trial of a configuration made by hand; a sweep that has ended goes on."""
    record = session.client.sweep(sweep).enqueue(_assigned(values, "/"))
    _answer(session, record, f"{record.name} is {record.state}, with a trial of {', '.join(values)}.")


def clone(
    session: Session,
    sweep: SweepArgument,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Of the new sweep.")] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="FIELD=VALUE", help="A field of the spec, such as budget.trials=200."),
    ] = None,
) -> None:
    """Submit the spec of a sweep again as another one, with changes."""
    patch = _assigned(changes or [], ".") | ({} if name is None else {"name": name})
    made = session.client.sweep(sweep).clone(**patch)
    _answer(session, made.record, f"Submitted {made.name} ({made.id}).\nWatch it with `toprung watch {made.name}`.")


def _answer(session: Session, record: Sweep, text: str) -> None:
    if session.as_json:
        session.emit(record.model_dump(mode="json"))
    else:
        session.out.print(text)


def _budget(
    trials: int | None, steps: int | None, wall_time: float | None, gpu_hours: float | None
) -> dict[str, float]:
    given = {"trials": trials, "steps": steps, "wall_time_s": wall_time, "gpu_hours": gpu_hours}
    return {name: value for name, value in given.items() if value is not None}


def _in_words(record: Sweep) -> str:
    present = record.spec.budget.model_dump(exclude_none=True)
    return ", ".join(f"{name} {value:g}" for name, value in present.items())


def _assigned(assignments: Sequence[str], separator: str) -> dict[str, Any]:
    """A nested mapping of `a.b=value` texts; values as YAML 1.2 reads them.

    Raises:
        InvalidInput: one is no assignment, or two are of the same field.
    """
    from toprung.tuning.spec.reading import read  # noqa: PLC0415 pydantic models: slow to load

    data: dict[str, Any] = {}
    for text in assignments:
        path, equals, value = text.partition("=")
        if not equals or not all(path.split(separator)):
            raise InvalidInput(f"{text!r} must be {'NAME' if separator == '/' else 'FIELD'}=VALUE, such as lr=0.01.")
        *groups, last = path.split(separator)
        inner = data
        for group in groups:
            inner = inner.setdefault(group, {})
            if not isinstance(inner, dict):
                raise InvalidInput(f"{text!r} sets a part of what another assignment sets whole.")
        if last in inner:
            raise InvalidInput(f"{path} is set twice.")
        try:
            inner[last] = read(value).data
        except Malformed:
            raise InvalidInput(f"The value in {text!r} can't be read; quote text as YAML does.") from None
    return data


def register(app: typer.Typer) -> None:
    for function in (edit, extend, retry, stop, enqueue, clone):
        command(app, PANEL)(function)
