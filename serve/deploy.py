"""Puts the service on a Ray cluster: the controller, the tracker, the HTTP replicas."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import ray
from fastapi import FastAPI
from ray import serve
from ray.serve.context import _get_global_client

from toprung.serve.actor import CONTROLLER, NAMESPACE, ControllerActor
from toprung.serve.controller import HEAD
from toprung.serve.home import Home
from toprung.serve.http.app import create_app
from toprung.serve.listening import check_alone
from toprung.serve.store import Store
from toprung.serve.tracking.actor import TRACKER, TrackerActor
from toprung.tuning.run.resources import slots

logger = logging.getLogger("toprung.serve")

APP = "toprung"
_MAX_ONGOING = 1_000
"""Requests a replica serves at once; an open event stream is one of them."""


def deploy(home: Path, *, host: str, port: int, wait_for_resources: bool, auth: bool) -> None:
    """Starts what is not there yet; an actor that runs is kept.

    Raises:
        Unavailable: Ray Serve runs already and others can reach it, but `auth` is off.
    """
    options: dict[str, Any] = {
        "namespace": NAMESPACE,
        "lifetime": "detached",
        "get_if_exists": True,
        "num_cpus": 0,
        "resources": HEAD,
        "max_restarts": -1,
    }
    controller = (
        ray.remote(ControllerActor)
        .options(name=CONTROLLER, max_task_retries=-1, max_concurrency=32, **options)
        .remote(home, wait_for_resources=wait_for_resources)
    )
    tracker = ray.remote(TrackerActor).options(name=TRACKER, max_concurrency=2, **options).remote(home)
    serve.start(proxy_location="HeadOnly", http_options={"host": host, "port": port})
    # a cluster's Ray Serve may run already, and listens where it did then: what `start` is told is ignored
    check_alone(_get_global_client().http_config.host, auth)
    serve.run(_api(home, auth), name=APP, route_prefix="/")
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


def _api(home: Path, auth: bool) -> Any:
    def build() -> FastAPI:
        place = Home.at(home)
        return create_app(Store(place.store_url), place.path, slots=slots, auth=auth)

    replica = serve.deployment(
        serve.ingress(build)(),
        name="api",
        num_replicas=1,
        max_ongoing_requests=_MAX_ONGOING,
        ray_actor_options={"num_cpus": 0, "resources": HEAD},
    )
    return replica.bind()
