"""What the sweeps would use of a cluster that grows, asked of Ray's autoscaler.

A runner asks Ray for no more places than its sweep's share, which is a share of the nodes that are there: so a new
trial's configuration is proposed when it can run, a promotion finds a free place, and no sweep queues before another.
The autoscaler sees one trial that waits, at most. The rest is asked for here, by Ray's standing request
(`ray.autoscaler.sdk.request_resources`): a cluster in which all would fit at once. What a trial uses already counts in
it, so the request is one for all sweeps, and changes as they come, go and end. A request that can't be met whole is
ignored whole by Ray's autoscaler: it is held to what the file allows that the cluster was started with.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import chain
from typing import Any

import ray
from ray.autoscaler.sdk import request_resources
from ray.core.generated.autoscaler_pb2 import GetClusterStatusReply
from ray.experimental.internal_kv import internal_kv_get_gcs_client

from toprung.cluster.growth import Growth, growth
from toprung.serve.allotment import claim, limits
from toprung.serve.settings import Settings
from toprung.serve.shares import shares
from toprung.tuning.records import Sweep
from toprung.tuning.run.nodes import Cluster, Node, usable
from toprung.tuning.run.resources import bundle, offers, selector, slots_on, wants
from toprung.tuning.spec import Resources

logger = logging.getLogger(__name__)

_LOOK_S = 1.0
_REPEAT_S = 15.0
"""Ray's GCS forgets the request when it is started anew. The autoscaler says what it can't place within 5 s."""

Request = tuple[tuple[tuple[tuple[str, float], ...], tuple[tuple[str, str], ...]], ...]
"""Bundles, each with the labels that its node must have, the least wanted last."""


@dataclass
class _Asked:
    """The standing request."""

    request: Request
    basis: Request
    """What would be asked for if the autoscaler could do it all."""
    at: float


class Demand:
    """Keeps the request up with the sweeps."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._looked_at = float("-inf")
        self._asked: _Asked | None = None

    @property
    def grows(self) -> bool:
        """Whether nodes come as they are needed, and go when they are not."""
        return _growth() is not None

    def update(self, sweeps: Sequence[Sweep], cluster: Cluster) -> None:
        """Takes note of the sweeps that run, or are about to, and of the nodes."""
        if time.monotonic() - self._looked_at < _LOOK_S:
            return
        self._looked_at = time.monotonic()
        try:
            growth = _growth()
            if growth is None:
                self.withdraw()
            else:
                going_on = [sweep for sweep in sweeps if not sweep.pause_requested and not sweep.cancel_requested]
                self._keep_up(going_on, cluster, growth)
        except Exception as error:  # the GCS is away, or no answer in time: sweeps go on without more machines
            logger.warning("the autoscaler could not be asked: %s: %s", type(error).__name__, error)

    def _keep_up(self, sweeps: Sequence[Sweep], cluster: Cluster, growth: Growth) -> None:
        basis = wanted(sweeps, cluster.there, cluster.out, growth, self._settings)
        asked = self._asked
        if asked is None or asked.basis != basis:
            self._ask(basis, basis)
        elif asked.request and time.monotonic() - asked.at > _REPEAT_S:
            refused = _is_refused()
            if refused:
                logger.warning("the autoscaler can't place %d bundles at once: one less", len(asked.request))
            self._ask(asked.request[:-1] if refused else asked.request, basis)

    def withdraw(self) -> None:
        """Nobody will keep the request up: nodes that only it holds may go."""
        if self._asked is not None and self._asked.request:
            self._ask((), ())

    def _ask(self, request: Request, basis: Request) -> None:
        request_resources(
            bundles=[dict(has) for has, _ in request],
            bundle_label_selectors=[dict(labels) for _, labels in request],
        )
        self._asked = _Asked(request, basis, time.monotonic())


def _growth() -> Growth | None:
    return growth(ray.get_runtime_context().gcs_address)


def slots(resources: Resources) -> int:
    """How many trials fit at once on the cluster's nodes and those that may be added."""
    nodes = usable()
    found = _growth()
    coming = found.to_come(nodes, [(resources, 2**31)]) if found else []
    return slots_on(offers([*nodes, *coming], [resources]), wants(resources), resources.places)


def wanted(
    sweeps: Sequence[Sweep], there: Sequence[Node], out: Set[str], growth: Growth, settings: Settings
) -> Request:
    """What all sweeps could use together of the cluster, once it has grown as far as it can.

    Args:
        sweeps: that run, in the order in which they are served.
        there: all nodes.
        out: ids of those that take no new trials.
        growth: what may be added.
        settings: with the quotas.
    """
    asked = {sweep.id: sweep.spec.resources for sweep in sweeps}
    quotas = limits(sweeps, settings)
    nodes = [node for node in there if node.id not in out]
    present = offers(nodes, asked.values())
    # a share of one also where no node holds a trial: it waits for such a node
    have = shares([one for sweep in sweeps if (one := claim(sweep, present)).most], present, quotas)
    more = ((asked[sweep.id], claim(sweep, None).most - have.get(sweep.id, 0)) for sweep in sweeps)
    grown = offers([*nodes, *growth.to_come(there, more)], asked.values())
    claims = [claim(sweep, grown) for sweep in sweeps]
    counts = shares([one for one in claims if one.most], grown, quotas)
    bundles = {
        sweep_id: ((tuple(bundle(asked[sweep_id]).items()), tuple(selector(asked[sweep_id], out).items())),)
        * asked[sweep_id].places
        for sweep_id in counts
    }
    rounds = range(max(counts.values(), default=0))
    return tuple(
        chain.from_iterable(bundles[sweep_id] for turn in rounds for sweep_id, count in counts.items() if count > turn)
    )


def _is_refused() -> bool:
    """Whether the autoscaler says that the request can't be met; Ray's first one makes what it can of it."""
    reply: Any = GetClusterStatusReply()
    reply.ParseFromString(internal_kv_get_gcs_client().get_cluster_status(timeout_s=10))
    return bool(reply.autoscaling_state.infeasible_cluster_resource_constraints)
