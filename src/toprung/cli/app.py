"""The typer application: global options, the commands, one place where errors become exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from toprung import __version__
from toprung.cli import (
    board,
    cluster,
    demo,
    edits,
    local,
    reproduce,
    retention,
    simulate,
    specs,
    sweeps,
    tokens,
    trials,
    usage,
    wandb,
    webhooks,
)
from toprung.cli.failures import report
from toprung.cli.session import HomeOption, JsonOption, Session, UrlOption


class ToprungGroup(TyperGroup):
    """Runs a command and turns what it raises into a readable line and a stable exit code."""

    def main(  # type: ignore[override]  # typer's own signature differs from version to version
        self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any
    ) -> Any:
        given = list(sys.argv[1:] if args is None else args)
        session = Session(as_json="--json" in given)  # known before parsing: a usage error is JSON too
        extra |= {"standalone_mode": False, "obj": session}
        try:
            code = super().main(args=given, prog_name="toprung", **extra)
        except Exception as error:
            code = report(session, error)
        finally:
            session.close()
        sys.exit(code if isinstance(code, int) else 0)

    def list_commands(self, ctx: typer.Context) -> list[str]:  # type: ignore[override]
        return list(self.commands)  # as registered: the order in which they are used


app = typer.Typer(
    cls=ToprungGroup,
    help="Hyperparameter sweeps on a Ray cluster: one file in, the best trials out.",
    epilog="Start with: toprung demo",
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


@app.callback()
def _root(
    ctx: typer.Context,
    url: UrlOption = None,
    json: JsonOption = False,
    home: HomeOption = None,
    version: Annotated[bool, typer.Option("--version", help="Print the version of this program.")] = False,
) -> None:
    ctx.obj.merge(url, json, home)
    if version:
        typer.echo(f"toprung {__version__}")
        raise typer.Exit
    if ctx.invoked_subcommand is None:
        typer.echo(ctx.get_help())


_OF_A_SWEEP = (sweeps, board, wandb, edits, trials, reproduce, retention)
for module in (demo, specs, simulate, local, tokens, webhooks, usage, *_OF_A_SWEEP, cluster):
    module.register(app)


def main() -> None:
    """The entry point `toprung`."""
    app()
