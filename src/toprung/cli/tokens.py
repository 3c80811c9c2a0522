"""Commands about tokens: create, list, revoke. For admins of a service with access control."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from rich.text import Text

from toprung.cli.session import Session, command
from toprung.cli.tables import table
from toprung.cli.words import ago

PANEL = "Service"


class ScopeName(StrEnum):
    read = "read"
    write = "write"
    admin = "admin"


def create(
    session: Session,
    owner: Annotated[str, typer.Option("--owner", metavar="NAME", help="Whose it is; their sweeps carry the name.")],
    scope: Annotated[ScopeName, typer.Option("--scope", help="What it may do: see, run its own sweeps, everything.")],
) -> None:
    """Make a token; it is shown once."""
    made = session.client.create_token(owner=owner, scope=scope.value)
    if session.as_json:
        session.emit(made.model_dump(mode="json"))
        return
    session.err.print(
        f"A token of {made.owner} with scope {made.scope}. It is shown this once; set it as TOPRUNG_TOKEN."
    )
    session.out.print(made.token)


def list_(session: Session) -> None:
    """List the tokens, the oldest first, without what proves them."""
    tokens = session.client.tokens()
    if session.as_json:
        session.emit({"items": [token.model_dump(mode="json") for token in tokens]})
        return
    made = table("id", "owner", "scope", "created", "revoked")
    for token in tokens:
        revoked = ago(token.revoked_at) if token.revoked_at else ""
        made.add_row(token.id, Text(token.owner), token.scope.value, ago(token.created_at), revoked)
    session.out.print(made)


def revoke(
    session: Session,
    token: Annotated[str, typer.Argument(metavar="TOKEN", help="Its id: what it begins with, tpr_ and 12 characters.")],
) -> None:
    """Make a token worthless from now on."""
    revoked = session.client.revoke_token(token)
    if session.as_json:
        session.emit(revoked.model_dump(mode="json"))
    else:
        session.out.print(f"{revoked.id} of {revoked.owner} is revoked.")


def register(app: typer.Typer) -> None:
    tokens = typer.Typer(help="Tokens for a service with access control: create, list, revoke.")
    command(tokens, PANEL)(create)
    command(tokens, PANEL, "list")(list_)
    command(tokens, PANEL)(revoke)
    app.add_typer(tokens, name="token", rich_help_panel=PANEL)
