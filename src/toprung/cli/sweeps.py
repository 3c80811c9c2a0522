"""Commands about whole sweeps: submit, watch, list, show, pause, resume, cancel."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from toprung.cli.complete import sweep_names
from toprung.cli.explain import print_sweep, print_trial
from toprung.cli.failures import ENDED_BADLY
from toprung.cli.session import Session, command
from toprung.cli.tables import print_sweeps
from toprung.cli.watching.run import watch as follow
from toprung.cli.words import plural

if TYPE_CHECKING:
    from toprung.client import SweepHandle
    from toprung.tuning.records import Sweep

PANEL = "Sweeps"
SweepArgument = Annotated[
    str, typer.Argument(metavar="SWEEP", help="Name (the newest of it) or id.", autocompletion=sweep_names)
]

PlainOption = Annotated[bool, typer.Option("--plain", help="Watch in lines, as where stdout is no terminal.")]


class SweepStateName(StrEnum):
    queued = "queued"
    running = "running"
    paused = "paused"
    succeeded = "succeeded"
    failed = "failed"
    cancelled = "cancelled"


def submit(
    session: Session,
    spec: Annotated[Path, typer.Argument(metavar="SPEC", help="The sweep's YAML or JSON file.")],
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Watch it until it ends.")] = False,
    code: Annotated[
        Path | None, typer.Option("--code", metavar="DIR", help="Folder to upload, instead of the spec's `code`.")
    ] = None,
    name: Annotated[str | None, typer.Option("--name", metavar="NAME", help="Instead of the spec's name.")] = None,
    plain: PlainOption = False,
) -> None:
    """Start a sweep."""
    session.subject = str(spec)
    sweep = session.client.submit(spec, code=code, name=name)
    session.subject = None
    if watch:
        if session.as_json:
            session.emit({"type": "submitted", "sweep": sweep.record.model_dump(mode="json")})
        else:
            session.err.print(f"Submitted {sweep.name} ({sweep.id}).")
        watch_to_end(session, sweep, plain)
    elif session.as_json:
        session.emit(sweep.record.model_dump(mode="json"))
    else:
        session.out.print(f"Submitted {sweep.name} ({sweep.id}).\nWatch it with `toprung watch {sweep.name}`.")


def watch(session: Session, sweep: SweepArgument, plain: PlainOption = False) -> None:
    """Watch a sweep live; who leaves doesn't stop it."""
    watch_to_end(session, session.client.sweep(sweep), plain)


def watch_to_end(session: Session, sweep: SweepHandle, plain: bool) -> None:
    """Follow a sweep.

    Raises:
        typer.Exit: with code 6 when it failed or was cancelled.
    """
    if follow(session, sweep, lines=plain) and sweep.state != "succeeded":
        raise typer.Exit(ENDED_BADLY)


def list_(
    session: Session,
    state: Annotated[SweepStateName | None, typer.Option("--state", help="Only these.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", metavar="NAME", help="Only theirs.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most so many, the newest.")] = 50,
) -> None:
    """List the sweeps, the newest first."""
    wanted = state.value if state else None
    found = [sweep.record for sweep in session.client.sweeps(state=wanted, owner=owner, limit=limit)]
    if session.as_json:
        session.emit({"items": [record.model_dump(mode="json") for record in found]})
    elif found:
        print_sweeps(session.out, found)
    else:
        session.err.print(_none_found(wanted, owner))


def _none_found(state: str | None, owner: str | None) -> str:
    if state is None and owner is None:
        return "No sweeps yet. Start one with `toprung submit`."
    return f"No {state + ' ' if state else ''}sweeps{f' of {owner}' if owner else ''}."


def show(
    session: Session,
    sweep: SweepArgument,
    trial: Annotated[int | None, typer.Argument(metavar="[TRIAL]", min=0, help="Number of one of its trials.")] = None,
) -> None:
    """Show a sweep; or one trial: how far it came, why it was stopped, its error."""
    handle = session.client.sweep(sweep)
    if trial is not None:
        _show_trial(session, handle, trial)
        return
    best = handle.best_trials(5)
    if session.as_json:
        dumped = [item.model_dump(mode="json") for item in best]
        session.emit({"sweep": handle.record.model_dump(mode="json"), "best": dumped})
    else:
        print_sweep(session.out, handle.record, best)


def _show_trial(session: Session, sweep: SweepHandle, number: int) -> None:
    handle = sweep.trial(number)
    trial, environment = handle.record, handle.environment()
    decisions = list(sweep.decisions(number=number))
    if session.as_json:
        dumped = [decision.model_dump(mode="json") for decision in decisions]
        ran_in = environment.model_dump(mode="json")
        session.emit({"trial": trial.model_dump(mode="json"), "decisions": dumped, "environment": ran_in})
    else:
        print_trial(session.out, sweep.record, trial, decisions, environment)


def cancel(session: Session, sweep: SweepArgument) -> None:
    """Stop a sweep's trials and end it."""
    handle = session.client.sweep(sweep)
    record = handle.cancel()
    if session.as_json:
        session.emit(record.model_dump(mode="json"))
    elif record.state == "cancelled":
        session.out.print(f"{record.name} is cancelled.")
    else:
        session.out.print(f"{record.name} is being cancelled: {plural(_num_unfinished(record), 'trial')} to stop.")


def pause(session: Session, sweep: SweepArgument) -> None:
    """Stop a sweep's trials for a while, to go on later from their checkpoints."""
    record = session.client.sweep(sweep).pause()
    if session.as_json:
        session.emit(record.model_dump(mode="json"))
    elif record.state == "paused":
        session.out.print(f"{record.name} is paused; `toprung resume {record.name}` lets it go on.")
    else:
        session.out.print(f"{record.name} is pausing: {plural(_num_unfinished(record), 'trial')} to stop.")


def resume(session: Session, sweep: SweepArgument) -> None:
    """Let a paused sweep go on where it was."""
    record = session.client.sweep(sweep).resume()
    if session.as_json:
        session.emit(record.model_dump(mode="json"))
    else:
        session.out.print(f"{record.name} goes on: {plural(_num_unfinished(record), 'trial')} to take up.")


def _num_unfinished(record: Sweep) -> int:
    return sum(count for state, count in record.trials.items() if not state.finished)


def register(app: typer.Typer) -> None:
    command(app, PANEL)(submit)
    command(app, PANEL)(watch)
    command(app, PANEL, "list")(list_)
    command(app, PANEL)(show)
    command(app, PANEL)(pause)
    command(app, PANEL)(resume)
    command(app, PANEL)(cancel)
