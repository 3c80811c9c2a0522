"""Commands that remove: delete, gc."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal

from toprung.cli import local
from toprung.cli.session import Session, command
from toprung.cli.sweeps import PANEL, SweepArgument
from toprung.cli.tables import table
from toprung.cli.words import ago, plural
from toprung.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toprung.client import SweepHandle
    from toprung.tuning.garbage import CleanUp, Files

_KINDS = {
    "checkpoints": "checkpoints",
    "logs": "logs",
    "tensorboard": "TensorBoard",
    "wandb": "W&B",
    "code": "code, unless used elsewhere",
    "unused_packages": "code of no sweep",
    "unknown_sweeps": "files of unknown sweeps",
    "lost_checkpoints": "checkpoints of no trial",
    "old_checkpoints": "checkpoints of old sweeps",
    "old_logs": "logs of old sweeps",
}
_AGE = re.compile(r"(\d{1,6}(?:\.\d{1,3})?) ?(s|min|h|d|w)")
_SECONDS = {"s": 1, "min": 60, "h": 3600, "d": 24 * 3600, "w": 7 * 24 * 3600}


def delete(
    session: Session,
    sweep: SweepArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
) -> None:
    """Delete a finished sweep: its results, checkpoints, logs."""
    handle = session.client.sweep(sweep)
    if handle.state.finished and not yes and not _confirmed(session, handle):  # the service refuses the others
        session.out.print("Nothing was deleted.")
        return
    handle.delete()
    if session.as_json:
        session.emit(handle.record.model_dump(mode="json"))
    else:
        session.out.print(f"{handle.name} ({handle.id}) is deleted.")


def _confirmed(session: Session, sweep: SweepHandle) -> bool:
    """Shows what would go, and asks.

    Raises:
        InvalidInput: there is nobody to ask.
    """
    if session.as_json or not _is_terminal():
        raise InvalidInput(f"{sweep.name} can't be had back once it is deleted. Say that you mean it: --yes.")
    record = sweep.record
    trials = plural(sum(record.trials.values()), "trial")
    session.out.print(f"{record.name} ({record.id}), {record.state} {ago(record.ended_at)}")
    session.out.print(f"{trials} with {plural(record.num_results, 'result')}")
    _print_files(session, sweep.files())
    return typer.confirm("Delete all of this?")


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


def gc(
    session: Session,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")] = False,
    older_than: Annotated[
        str | None,
        typer.Option(
            "--older-than", metavar="AGE", help="Also checkpoints and logs of sweeps that ended longer ago: 30d, 12h."
        ),
    ] = None,
) -> None:
    """Remove files that nobody needs: code of no sweep, what killed processes left."""
    done = session.client.gc(dry_run=dry_run, older_than_s=_seconds(older_than))
    if session.as_json:
        session.emit(done.model_dump(mode="json"))
    else:
        _print_clean_up(session, done)


def _seconds(age: str | None) -> float | None:
    if age is None:
        return None
    match = _AGE.fullmatch(age.strip())
    if match is None:
        raise InvalidInput(f"--older-than {age!r} is no age; write a number and s, min, h, d or w, such as 30d or 12h.")
    return float(match[1]) * _SECONDS[match[2]]


def _print_clean_up(session: Session, done: CleanUp) -> None:
    if done.items:
        _print_files(session, done.items)
        total = decimal(sum(files.size_bytes for files in done.items))
        session.out.print(f"{total} would be freed; without --dry-run it is." if done.dry_run else f"{total} freed.")
    else:
        session.out.print("Nothing to remove.")
    for problem in done.problems:
        session.err.print(problem)


def _print_files(session: Session, found: Sequence[Files]) -> None:
    made = table("what", "count", "size", right=("count", "size"))
    for files in found:
        made.add_row(_KINDS[files.kind], f"{files.count:,}", decimal(files.size_bytes))
    if found:
        session.out.print(made)


def register(app: typer.Typer) -> None:
    command(app, PANEL)(delete)
    command(app, local.PANEL)(gc)
