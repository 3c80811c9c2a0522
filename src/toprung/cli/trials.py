"""Commands about trials: trials, best, logs, download."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import yaml

from toprung.cli.session import Session, command
from toprung.cli.sweeps import SweepArgument
from toprung.cli.tables import print_best, print_trials

PANEL = "Trials"
TrialArgument = Annotated[int, typer.Argument(metavar="TRIAL", min=0, help="The trial's number.")]


class TrialStateName(StrEnum):
    pending = "pending"
    paused = "paused"
    running = "running"
    completed = "completed"
    pruned = "pruned"
    failed = "failed"
    cancelled = "cancelled"


class Order(StrEnum):
    number = "number"
    value = "value"


def trials(
    session: Session,
    sweep: SweepArgument,
    state: Annotated[TrialStateName | None, typer.Option("--state", help="Only these.")] = None,
    order_by: Annotated[Order, typer.Option("--order-by", help="By value: the best first.")] = Order.number,
    limit: Annotated[int, typer.Option("--limit", min=1, metavar="N", help="At most so many.")] = 100,
) -> None:
    """List a sweep's trials."""
    handle = session.client.sweep(sweep)
    wanted = handle.trials(state=state.value if state else None, order_by=order_by.value, limit=limit)
    found = [trial.record for trial in wanted]
    if session.as_json:
        session.emit({"items": [record.model_dump(mode="json") for record in found]})
    elif found:
        print_trials(session.out, handle.record, found)
    else:
        session.err.print(f"{handle.name} has no {state.value} trials." if state else f"{handle.name} has no trials.")


def best(
    session: Session,
    sweep: SweepArgument,
    k: Annotated[int, typer.Option("-k", min=1, max=100, metavar="K", help="How many.")] = 5,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print the best trial's config as YAML.")] = False,
) -> None:
    """Show the best trials."""
    if as_yaml and session.as_json:
        raise typer.BadParameter("choose one of --yaml and --json")
    handle = session.client.sweep(sweep)
    if as_yaml:
        _print_yaml(handle.best().config)
        return
    found = handle.best_trials(k)
    if session.as_json:
        session.emit({"items": [item.model_dump(mode="json") for item in found]})
        return
    if not found:
        handle.best()  # raises, and says why
    print_best(session.out, handle.record, found)
    session.out.print(f"\ntrial {found[0].trial.number} leads: {found[0].why}", style="dim")


def _print_yaml(config: dict[str, object]) -> None:
    sys.stdout.write(yaml.safe_dump(config, sort_keys=False, allow_unicode=True))


def logs(
    session: Session,
    sweep: SweepArgument,
    trial: TrialArgument,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the attempt ends.")] = False,
    attempt: Annotated[
        int | None, typer.Option("--attempt", min=1, metavar="N", help="Which attempt; default: the last.")
    ] = None,
) -> None:
    """Print what a trial printed."""
    handle = session.client.sweep(sweep).trial(trial)
    for text in handle.logs(attempt=attempt, follow=follow):
        if session.as_json:
            session.emit({"number": trial, "attempt": attempt or handle.record.attempt, "text": text})
        else:
            sys.stdout.write(text)
            sys.stdout.flush()


def download(
    session: Session,
    sweep: SweepArgument,
    trial: Annotated[
        int | None, typer.Argument(metavar="[TRIAL]", min=0, help="The trial's number; default: the best.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Where to; default: SWEEP-trial-N.")
    ] = None,
) -> None:
    """Download a trial's best checkpoint."""
    handle = session.client.sweep(sweep)
    found = handle.best() if trial is None else handle.trial(trial)
    folder = found.download_checkpoint(output or Path(f"{handle.name}-trial-{found.number}"))
    step = found.record.checkpoint.step if found.record.checkpoint else None
    if session.as_json:
        session.emit({"path": str(folder.absolute()), "number": found.number, "step": step})
    else:
        session.out.print(f"Trial {found.number}'s checkpoint of step {step} is in {folder}")


def register(app: typer.Typer) -> None:
    command(app, PANEL)(trials)
    command(app, PANEL)(best)
    command(app, PANEL)(logs)
    command(app, PANEL)(download)
