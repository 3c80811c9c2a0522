"""`toprung tensorboard`: where a sweep's curves are."""

from __future__ import annotations

import webbrowser
from typing import Annotated

import typer

from toprung.cli.session import Session, command
from toprung.cli.sweeps import PANEL, SweepArgument
from toprung.errors import Conflict


def tensorboard(
    session: Session,
    sweep: SweepArgument,
    open_it: Annotated[bool, typer.Option("--open", help="Open it in a browser.")] = False,
) -> None:
    """Say where a sweep's TensorBoard is: the service has one."""
    record = session.client.sweep(sweep).record
    if not record.spec.tracking.tensorboard:
        raise Conflict(
            f"Sweep {record.name} is not written for TensorBoard: its spec has `tracking: {{tensorboard: false}}`. "
            f"What it reported is shown by `toprung show {record.name}`."
        )
    url = f"{session.client.url}/tensorboard/{record.id}/"
    if session.as_json:
        session.emit({"url": url})
    else:
        session.out.print(url)
    if open_it and not webbrowser.open(url):
        session.err.print("No browser was found here; open the URL in one.")


def register(app: typer.Typer) -> None:
    command(app, PANEL)(tensorboard)
