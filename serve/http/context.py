"""What the routes work with, handed to them by the framework."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Protocol

from fastapi import Depends, Path, Request

from toprung.cluster.records import CheckUp, Node
from toprung.serve.home import Home
from toprung.serve.http.columns import ColumnCache
from toprung.serve.http.feed import Feed
from toprung.serve.http.gallery import Gallery
from toprung.serve.http.metrics import Metrics
from toprung.serve.http.packages import PackageStore
from toprung.serve.http.sessions import Sessions
from toprung.serve.settings import Settings
from toprung.serve.store import Store
from toprung.serve.tracking.live import LiveBoards
from toprung.tuning.records import SetAside
from toprung.tuning.spec import Resources

Slots = Callable[[Resources], int | None]
"""How many trials that need these resources fit the cluster at once."""


class Cluster(Protocol):
    """What is asked of the cluster, `toprung.serve.machines.Machines` in a service."""

    def nodes(self) -> list[Node]: ...

    def shares(self) -> dict[str, int]: ...

    def check_up(self) -> CheckUp: ...

    def set_aside(self) -> list[SetAside]: ...

    def take_back(self, node_id: str) -> None: ...


@dataclass(frozen=True)
class Services:
    """All of one application."""

    store: Store
    home: Home
    packages: PackageStore
    feed: Feed
    metrics: Metrics
    slots: Slots | None
    settings: Settings
    auth: bool
    """Whether requests need a token."""
    sessions: Sessions
    boards: LiveBoards
    cluster: Cluster | None
    """None in tests without Ray."""
    columns: ColumnCache
    gallery: Gallery


async def _services(request: Request) -> Services:  # async: not worth a thread
    services: Services = request.app.state.services
    return services


Context = Annotated[Services, Depends(_services)]

SweepRef = Annotated[str, Path(description="The sweep's id, or a name: its newest sweep.", examples=["digits-cnn"])]
TrialNumber = Annotated[int, Path(ge=0, description="The trial's number in its sweep, from 0.")]


def _sweep_id(context: Context, sweep: SweepRef) -> str:
    """The id of the sweep in the path.

    Raises:
        NotFound: there is none.
    """
    return context.store.get_sweep(sweep).id


SweepId = Annotated[str, Depends(_sweep_id)]
