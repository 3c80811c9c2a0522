"""What every command shares: the global options, the client, the way out to stdout and stderr."""

from __future__ import annotations

import inspect
import json
import os
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer
from rich.console import Console

from toprung.errors import NoService

if TYPE_CHECKING:
    from toprung.client import AsyncClient, Client

WIDE = 10_000  # columns where stdout is no terminal: nothing is cut that a program may read

UrlOption = Annotated[
    str | None, typer.Option("--url", metavar="URL", help="The service; default: $TOPRUNG_URL, else the one here.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
HomeOption = Annotated[
    Path | None,
    typer.Option("--home", metavar="DIR", help="The service's folder here; default: $TOPRUNG_HOME or ~/.toprung."),
]


def default_home() -> Path:
    return Path(os.environ.get("TOPRUNG_HOME") or Path.home() / ".toprung")


@dataclass
class Session:
    """One run of the command line.

    Attributes:
        url: the service as given by --url.
        as_json: stdout carries JSON alone.
        home: the service's folder as given by --home.
        subject: the file that an invalid spec came from.
    """

    url: str | None = None
    as_json: bool = False
    home: Path | None = None
    subject: str | None = None
    _closing: ExitStack = field(default_factory=ExitStack)

    def merge(self, url: str | None, as_json: bool, home: Path | None) -> None:
        """Take over global options; those given after the command win."""
        self.url = url or self.url
        self.as_json = as_json or self.as_json
        self.home = home or self.home

    @property
    def home_dir(self) -> Path:
        return (self.home or default_home()).expanduser().absolute()

    @property
    def out(self) -> Console:
        return _console(sys.stdout)

    @property
    def err(self) -> Console:
        return _console(sys.stderr)

    @cached_property
    def client(self) -> Client:
        """The client for --url, else the service of --home, else what `Client()` finds.

        Raises:
            NoService: --home was given and no service was started there.
        """
        return self.client_for(30.0)

    def client_for(self, timeout_s: float) -> Client:
        """A client that gives up after `timeout_s`.

        Raises:
            NoService: as for `client`.
        """
        from toprung.client import Client  # noqa: PLC0415 loads httpx: `--help` should not wait for it

        return self._closing.enter_context(Client(**self._service(), timeout_s=timeout_s))

    def async_client(self) -> AsyncClient:
        """A client for asyncio, which the caller closes.

        Raises:
            NoService: as for `client`.
        """
        from toprung.client import AsyncClient  # noqa: PLC0415 as above

        return AsyncClient(**self._service())

    def _service(self) -> dict[str, Any]:
        from toprung.client import location  # noqa: PLC0415 as above

        url = self.url or self._home_url()
        token = location.default_token(location.checked_url(url or location.default_url()), self.home_dir)
        return {"url": url, "token": token}

    def close(self) -> None:
        """Close the clients."""
        self._closing.close()

    def _home_url(self) -> str | None:
        if self.home is None:
            return None
        try:
            return str(json.loads((self.home_dir / "service.json").read_text(encoding="utf-8"))["url"])
        except (OSError, ValueError, KeyError, TypeError):
            raise NoService(
                f"No Toprung service was started in {self.home_dir}.\nStart one with `toprung up --home {self.home}`."
            ) from None

    def emit(self, data: Any) -> None:
        """Print one JSON document on a line of its own."""
        sys.stdout.write(json.dumps(data, ensure_ascii=False, allow_nan=False) + "\n")
        sys.stdout.flush()

    def say(self, *parts: Any) -> None:
        """Print for people; nothing with --json."""
        if not self.as_json:
            self.out.print(*parts)


def _console(stream: Any) -> Console:
    width = None if stream.isatty() or "COLUMNS" in os.environ else WIDE
    return Console(file=stream, width=width, highlight=False, markup=False, emoji=False)


def global_parameters() -> list[inspect.Parameter]:
    """The options that every command takes, as typer reads them from a signature."""
    named = [("url", UrlOption, None), ("json", JsonOption, False), ("home", HomeOption, None)]
    return [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, annotation, default in named
    ]


def command(app: typer.Typer, panel: str, name: str | None = None) -> Callable[[Callable[..., None]], None]:
    """Register a function `(session, …)` as a command that also takes the global options."""

    def register(function: Callable[..., None]) -> None:
        hints = get_type_hints(function, include_extras=True)
        own = list(inspect.signature(function).parameters.values())[1:]

        def run(ctx: typer.Context, **values: Any) -> None:
            session: Session = ctx.obj
            session.merge(values.pop("url"), values.pop("json"), values.pop("home"))
            function(session, **values)

        parameters = [
            inspect.Parameter("ctx", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context),
            *(p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY) for p in own),
            *global_parameters(),
        ]
        run.__doc__ = function.__doc__
        run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # what typer reads
        run.__annotations__ = {p.name: p.annotation for p in parameters}
        app.command(name or function.__name__, rich_help_panel=panel)(run)

    return register
