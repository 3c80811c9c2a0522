"""Puts the service on a Ray cluster: the controller, the tracker, the HTTP replicas."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import ray
from ray import serve

from toprung.serve.actor import CONTROLLER, NAMESPACE, ControllerActor
from toprung.serve.controller import ON_HEAD
from toprung.serve.replica import Replica
from toprung.serve.tracking.actor import TRACKER, TrackerActor

logger = logging.getLogger("toprung.serve")

APP = "toprung"
_HEALTH_S = 1.0
"""So often Ray Serve asks after the replica: callers wait so long, and until another has started, when it has died."""


def deploy(home: Path, door: Path, *, host: str, port: int, wait_for_resources: bool, auth: bool) -> None:
    """Starts what is not there yet; an actor that runs is kept."""
    options: dict[str, Any] = {
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "resources": ON_HEAD,
        "max_restarts": -1,
    }
    controller = (
        ray.remote(ControllerActor)
        .options(name=CONTROLLER, max_task_retries=-1, max_concurrency=32, **options)
        .remote(home, wait_for_resources=wait_for_resources)
    )
    tracker = ray.remote(TrackerActor).options(name=TRACKER, max_concurrency=2, **options).remote(home)
    # without proxies: a replica listens by itself. A Ray Serve that runs already stays as it is
    serve.start(proxy_location="Disabled")
    replica = serve.deployment(
        Replica,
        name="api",
        num_replicas=1,
        ray_actor_options={"num_cpus": 0, "resources": ON_HEAD},
        health_check_period_s=_HEALTH_S,
    )
    serve.run(replica.bind(home, door, host, port, auth=auth), name=APP, route_prefix=None)
    ray.get([controller.ping.remote(), tracker.ping.remote()])


def withdraw(*, drain_s: float, end_sweeps: bool) -> None:
    """Takes the service off the cluster.

    Args:
        drain_s: how long the controller and the tracker may take for what is left to do.
        end_sweeps: whether running sweeps end, as the cluster does; else their runners go on.
    """
    serve.delete(APP)
    # the tracker last: it writes how the sweeps ended
    for name, last_word, options in ((CONTROLLER, "shutdown", {"end_sweeps": end_sweeps}), (TRACKER, "drain", {})):
        try:
            actor = ray.get_actor(name, namespace=NAMESPACE)
        except ValueError:
            continue
        try:
            ray.get(getattr(actor, last_word).remote(**options), timeout=drain_s)
        except ray.exceptions.RayError as error:  # it is being taken away in any case
            logger.warning("%s did not %s in good order: %s", name, last_word, error)
        ray.kill(actor)
