"""`toprung wandb sync`: sends what the service wrote offline, with wandb's own command."""

from __future__ import annotations

import shlex
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from toprung.cli.local import PANEL
from toprung.cli.session import Session, command
from toprung.cli.words import plural
from toprung.errors import ToprungError
from toprung.serve.home import Home

_AT_ONCE = 1_000
"""Folders per call of wandb: a command line has a limit."""


def sync(
    session: Session,
    sweep: Annotated[
        str | None, typer.Argument(metavar="[SWEEP]", help="Name (the newest of it) or id; default: all sweeps.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be sent, and how.")] = False,
) -> None:
    """Send to W&B what was written for it offline; on the service's machine."""
    folders = _unsent(Home(session.home_dir), _id_of(session, sweep))
    if folders and not session.as_json:
        _explain(session, folders)
    if folders and not dry_run:
        _send(session, folders)
    if session.as_json:
        session.emit({"folders": [str(folder) for folder in folders], "sent": not dry_run})
    elif not folders:
        session.out.print(f"Nothing to send in {Home(session.home_dir).wandb_runs}.")


def _id_of(session: Session, sweep: str | None) -> str:
    """What the id is like. One that is given as such is not asked for: the service may be down."""
    if sweep is None:
        return "swp_*"
    return sweep if sweep.startswith("swp_") else session.client.sweep(sweep).id


def _unsent(home: Home, sweep_id: str) -> list[Path]:
    """The folders of a sweep's runs, its own and its trials', that wandb has not marked as sent."""
    found = {*home.offline_runs(sweep_id), *home.offline_runs(f"{sweep_id}-*")}
    return sorted(folder for folder in found if not any(folder.glob("*.synced")))


def _explain(session: Session, folders: list[Path]) -> None:
    what = plural(len(folders), "run")
    session.out.print(f"{what} in {folders[0].parent}, sent by wandb's own command with the key of this terminal")
    session.out.print("(WANDB_API_KEY, or `wandb login`; another server: WANDB_BASE_URL). By hand:")
    session.out.print(f"  wandb sync {shlex.quote(str(folders[0]))}{' …' if folders[1:] else ''}", markup=False)


def _send(session: Session, folders: list[Path]) -> None:
    """Raises:
    ToprungError: wandb is not installed here, or did not send all.
    """
    if find_spec("wandb") is None:
        raise ToprungError('wandb is not installed here. Install it with: pip install wandb, or "toprung[server]"')
    for start in range(0, len(folders), _AT_ONCE):
        command_line = [sys.executable, "-m", "wandb", "sync", *map(str, folders[start : start + _AT_ONCE])]
        # with --json stdout carries JSON alone: wandb has stderr
        done = subprocess.run(command_line, check=False, stdout=2 if session.as_json else None)
        if done.returncode:
            break
    left = [folder for folder in folders if not any(folder.glob("*.synced"))]
    if left:
        raise ToprungError(
            f"wandb has not sent {plural(len(left), 'run')} of {len(folders)}; what it has is not sent again. "
            f"The first: {left[0]}"
        )


def register(app: typer.Typer) -> None:
    group = typer.Typer(help="Weights & Biases: send what was written offline.")
    command(group, PANEL)(sync)
    app.add_typer(group, name="wandb", rich_help_panel=PANEL)
