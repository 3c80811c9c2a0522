"""The cluster that the service runs on, for who asks about it over HTTP."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING

import ray
from ray.exceptions import GetTimeoutError, RayError

from toprung.cluster.nodes import nodes
from toprung.errors import Unavailable
from toprung.serve.actor import CONTROLLER, NAMESPACE
from toprung.serve.home import Home
from toprung.tuning.run import nodes as aside

if TYPE_CHECKING:
    from toprung.cluster.records import CheckUp, Node
    from toprung.tuning.records import SetAside

_RUNNERS = ("toprung-runner-", "toprung-spare-")
"""What the names of runners begin with (`runners.py`)."""
_ANSWER_S = 2.0


class Machines:
    """Lives in the replica, on the head."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._checking = threading.Lock()

    def nodes(self) -> list[Node]:
        """Those that are there, the head first, and after them those that were lost."""
        return nodes(runners=_RUNNERS)

    def shares(self) -> dict[str, int]:
        """How many trials each running sweep may have at once; empty where the controller does not answer."""
        with contextlib.suppress(ValueError, RayError, GetTimeoutError):
            controller = ray.get_actor(CONTROLLER, namespace=NAMESPACE)
            found: dict[str, int] = ray.get(controller.shares.remote(), timeout=_ANSWER_S)
            return found
        return {}

    def set_aside(self) -> list[SetAside]:
        """The nodes that get no new trials as others failed there."""
        return aside.set_aside()

    def take_back(self, node_id: str) -> None:
        """Gives a node trials again."""
        aside.take_back(node_id)

    def check_up(self) -> CheckUp:
        """Asks all nodes how they are; a minute and more where one does not answer.

        Raises:
            Unavailable: that is being done.
        """
        from toprung.cluster.doctor import check_up  # noqa: PLC0415  loads gRPC, which a replica does not need else

        if not self._checking.acquire(blocking=False):
            raise Unavailable("A check-up of the cluster is under way. Ask again when it is over.")
        try:
            return check_up(self.nodes(), home=self._home.path, shared=[self._home.storage.path])
        finally:
            self._checking.release()
