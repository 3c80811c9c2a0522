"""`toprung usage`: what was used, by owner."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from toprung.cli.session import Session, command
from toprung.cli.tables import table

DATES = ["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"]


def usage(
    session: Session,
    since: Annotated[
        datetime | None, typer.Option("--since", metavar="DATE", formats=DATES, help="Sweeps started from then on.")
    ] = None,
    until: Annotated[
        datetime | None, typer.Option("--until", metavar="DATE", formats=DATES, help="Sweeps started before.")
    ] = None,
) -> None:
    """Show what sweeps have used, by owner."""
    report = session.client.usage(since=since, until=until)
    if session.as_json:
        session.emit(report.model_dump(mode="json"))
        return
    if not report.items:
        session.err.print("No sweeps were started then.")
        return
    priced = any(item.cost for item in report.items)
    numbers = ("sweeps", "trials", "steps", "GPU-hours", *((report.currency,) if priced else ()))
    made = table("owner", *numbers, right=numbers)
    for item in report.items:
        cost = (f"{item.cost:,.2f}",) if priced else ()
        counts = (f"{count:,}" for count in (item.sweeps, item.trials, item.steps))
        made.add_row(item.owner or "–", *counts, f"{item.gpu_hours:,.2f}", *cost)
    session.out.print(made)


def register(app: typer.Typer) -> None:
    command(app, "Service")(usage)
