"""Commands about single machines of a cluster: one that was set aside, one that its cloud takes away."""

from __future__ import annotations

from typing import Annotated

import typer

from toprung.cli import service as processes
from toprung.cli.session import Session


def take_back(
    session: Session,
    node: Annotated[str, typer.Argument(metavar="NODE", help="Its host name, or Ray's id of it.")],
) -> None:
    """Give trials again to a node that was set aside, as they had failed there."""
    found = session.client.take_back(node)
    if session.as_json:
        session.emit({"items": [record.model_dump(mode="json") for record in found]})
    for record in found if not session.as_json else []:
        session.out.print(f"{record.node} gets trials again. It was set aside for: {record.reason}")


def watch_notice(session: Session) -> None:
    """Run on a spot machine of AWS or GCP: when its cloud says that it takes it away, have Ray drain it."""
    processes.check_installed()
    from toprung.cluster.notice import watch  # noqa: PLC0415  loads Ray

    notice = watch()
    if session.as_json:
        session.emit({"words": notice.words, "left_s": notice.left_s})
    else:
        session.out.print(f"{notice.words} in {notice.left_s:.0f} s; its node is drained.")
