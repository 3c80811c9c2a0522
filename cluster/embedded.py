"""The Ray that `toprung up` runs on: one of its own on this machine, or a cluster that is there already.

An embedded Ray is a child of the service's process and ends with it; other Ray processes on the machine are never
touched (`ray stop` would end every one it can see). It listens on loopback. Set the environment that
`environment.own_cluster` gives before importing this module.
"""

from __future__ import annotations

import contextlib
import logging

import psutil
import ray

from toprung.errors import Unavailable

logger = logging.getLogger("toprung.cluster")

_TRIES = 2
_TOO_BUSY = (
    "Ray did not start within its 30 s, twice: is this machine busy with other things? Try again when it is not."
)
_GAVE_UP = "timed out during startup"
"""Of Ray 2.60's message when a node took longer than the 30 s that it gives it, which can't be set."""


def start(*, namespace: str, num_cpus: int | None = None, num_gpus: int | None = None) -> str:
    """Starts a Ray on this machine. Returns its address.

    Args:
        namespace: Ray namespace of the named actors.
        num_cpus: CPUs for trials; None for all there are.
        num_gpus: GPUs for trials; None for all there are.

    Raises:
        Unavailable: it did not start in Ray's time, twice: others have the processor.
    """
    attempt = 0
    while True:
        attempt += 1
        try:
            return _start(namespace, num_cpus, num_gpus)
        except Exception as error:
            if _GAVE_UP not in str(error):
                raise
            _end_children()  # Ray leaves behind what had started
            if attempt == _TRIES:
                raise Unavailable(_TOO_BUSY) from error
            logger.warning("Ray did not start within its 30 s; once more")


def _start(namespace: str, num_cpus: int | None, num_gpus: int | None) -> str:
    context = ray.init(
        address="local",
        num_cpus=num_cpus,
        num_gpus=num_gpus,
        namespace=namespace,
        include_dashboard=False,
        log_to_driver=False,
        configure_logging=False,
        _node_ip_address="127.0.0.1",
    )
    return str(context.address_info["gcs_address"])


def _end_children() -> None:
    children = psutil.Process().children(recursive=True)
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended with another one
            child.kill()
    psutil.wait_procs(children, timeout=10)


def join(address: str, *, namespace: str) -> str:
    """Connects to a running cluster. Returns its address.

    Raises:
        Unavailable: nothing answers at the address, or it refuses the token.
    """
    try:
        context = ray.init(address=address, namespace=namespace, log_to_driver=False, configure_logging=False)
    except Exception as error:  # Ray raises ConnectionError, RuntimeError, ValueError and its own kinds here
        raise Unavailable(
            f"cannot join the Ray cluster at {address}: {error}. Is it running (`ray status`), is it Ray "
            f"{ray.__version__}, and are RAY_AUTH_MODE and its token set as on the cluster?"
        ) from error
    return str(context.address_info["gcs_address"])
