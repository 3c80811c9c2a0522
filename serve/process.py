"""The life of the service's process, once its environment is set."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import threading
from datetime import UTC, datetime

import ray
from ray import serve

from toprung import __version__
from toprung.cluster import embedded
from toprung.serve import listening
from toprung.serve.actor import NAMESPACE
from toprung.serve.admin import keep_admin_token
from toprung.serve.deploy import deploy, withdraw
from toprung.serve.home import Home

logger = logging.getLogger("toprung.serve")

_DRAIN_S = 30.0


def run(args: argparse.Namespace, home: Home) -> None:
    """Serves until SIGTERM or SIGINT.

    Raises:
        Unavailable: the cluster cannot be joined, or the port is taken.
    """
    stop = threading.Event()
    _listen(stop)
    door = listening.Door(args.host, args.port)
    try:
        _serve(args, home, door, stop)
    finally:
        door.close()
        home.service_file.unlink(missing_ok=True)
        ray.shutdown()


def _serve(args: argparse.Namespace, home: Home, door: listening.Door, stop: threading.Event) -> None:
    own = args.address is None
    if own:
        address = embedded.start(namespace=NAMESPACE, num_cpus=args.num_cpus, num_gpus=args.num_gpus)
    else:
        address = embedded.join(args.address, namespace=NAMESPACE)
    _listen(stop)  # again: ray.init has put its own handler of SIGTERM there, which leaves at once
    logger.info("Ray at %s", address)
    if args.auth:
        keep_admin_token(home)
    deploy(home.path, door.path, host=args.host, port=args.port, wait_for_resources=not own, auth=args.auth)
    url = listening.url_of(args.host, args.port)
    home.announce(
        url=url,
        pid=os.getpid(),
        address=address,
        embedded=own,
        auth=args.auth,
        version=__version__,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    logger.info("ready at %s", url)
    stop.wait()
    logger.info("stopping")
    door.close()
    withdraw(drain_s=_DRAIN_S, end_sweeps=own)
    if own:
        serve.shutdown()


def _listen(stop: threading.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
