"""Waits for the cloud's word that this machine will be taken away, and then has Ray drain it.

Ray's providers for AWS and GCP don't pass that word on. A drained node gets nothing new, and trials leave it
(`toprung.tuning.run.departures`). AWS gives two minutes (its earlier advice to rebalance is ignored: most such machines
stay), GCP thirty seconds.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import httpx
import psutil
from ray._private.services import canonicalize_bootstrap_address_or_die
from ray._raylet import GcsClient  # type: ignore[attr-defined]  # not in Ray's stubs
from ray.core.generated.autoscaler_pb2 import DRAIN_NODE_REASON_PREEMPTION
from ray.core.generated.gcs_pb2 import GcsNodeInfo

from toprung.errors import Unavailable

logger = logging.getLogger(__name__)

_EVERY_S = 5.0
"""As AWS advises."""
_GCP_NOTICE_S = 30.0
_TOKEN_S = 6 * 3600
_TIMEOUT_S = 2.0
_PATIENCE_S = 60.0
"""So long a machine that has just been started may not reach its metadata service yet."""


@dataclass(frozen=True)
class Notice:
    """The machine will be gone."""

    words: str
    left_s: float


class Metadata(Protocol):
    """A cloud's metadata service, which each of its machines can ask about itself."""

    def is_there(self) -> bool:
        """Whether this machine is in that cloud."""
        ...

    def notice(self) -> Notice | None:
        """The word, once it has come.

        Raises:
            httpx.HTTPError: no answer.
            ValueError, KeyError: one that can't be read.
        """
        ...


class Aws:
    """EC2, by version 2 of its protocol. AWS_EC2_METADATA_SERVICE_ENDPOINT names another address, as for AWS's SDKs."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._base = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "http://169.254.169.254").rstrip("/")
        self._token = ""

    def is_there(self) -> bool:
        return self._renew()

    def notice(self) -> Notice | None:
        answer = self._get("/latest/meta-data/spot/instance-action")
        if answer.status_code == 401 and self._renew():
            answer = self._get("/latest/meta-data/spot/instance-action")
        if answer.status_code == 404:  # not yet, or no spot instance
            return None
        said = answer.raise_for_status().json()
        at = datetime.fromisoformat(said["time"])
        return Notice(f"EC2 will {said['action']} the spot instance", (at - datetime.now(UTC)).total_seconds())

    def _get(self, path: str) -> httpx.Response:
        return self._http.get(self._base + path, headers={"X-aws-ec2-metadata-token": self._token})

    def _renew(self) -> bool:
        asked = {"X-aws-ec2-metadata-token-ttl-seconds": str(_TOKEN_S)}
        answer = self._http.put(f"{self._base}/latest/api/token", headers=asked)
        self._token = answer.text
        return answer.is_success


class Gcp:
    """Compute Engine. GCE_METADATA_HOST names another address, as for Google's libraries."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._base = f"http://{os.environ.get('GCE_METADATA_HOST', '169.254.169.254')}"

    def is_there(self) -> bool:
        return bool(self._get("").headers.get("Metadata-Flavor") == "Google")

    def notice(self) -> Notice | None:
        said = self._get("instance/preempted").raise_for_status().text.strip()
        return Notice("Compute Engine has preempted the instance", _GCP_NOTICE_S) if said == "TRUE" else None

    def _get(self, path: str) -> httpx.Response:
        return self._http.get(f"{self._base}/computeMetadata/v1/{path}", headers={"Metadata-Flavor": "Google"})


def watch(
    drain: Callable[[Notice], int] | None = None, every_s: float = _EVERY_S, patience_s: float = _PATIENCE_S
) -> Notice:
    """Returns once the notice has come and this machine's nodes are being drained.

    Args:
        drain: has the machine drained, and says how many nodes there are; an argument for tests without a cluster.
        every_s: between two questions.
        patience_s: how long none may be answered at first.

    Raises:
        Unavailable: this is no machine of AWS or GCP.
    """
    with httpx.Client(timeout=_TIMEOUT_S, trust_env=False) as http:
        service = _service(http, every_s, patience_s)
        while True:
            try:
                notice = service.notice()
            except (httpx.HTTPError, ValueError, KeyError) as error:  # it may have no time; the next answer will do
                logger.warning("no answer of the metadata service: %s: %s", type(error).__name__, error)
                notice = None
            if notice is not None and (drain or drain_this_machine)(notice):
                return notice
            time.sleep(every_s)


def _service(http: httpx.Client, every_s: float, patience_s: float) -> Metadata:
    ends_at = time.monotonic() + patience_s
    while True:
        for service in (Aws(http), Gcp(http)):
            try:
                if service.is_there():
                    return service
            except httpx.HTTPError:
                continue
        if time.monotonic() >= ends_at:
            break
        time.sleep(every_s)
    raise Unavailable(
        "No metadata service answers: this is no machine of AWS or GCP, or a container that does not reach it (on AWS "
        "give the instance HttpPutResponseHopLimit 2)."
    )


def drain_this_machine(notice: Notice) -> int:
    """Has Ray start nothing new on this machine. Returns how many nodes obey; 0 where its Ray is not up."""
    try:
        client = GcsClient(address=canonicalize_bootstrap_address_or_die(None))
        drained = 0
        gone_at_ms = int((time.time() + max(0.0, notice.left_s)) * 1000)
        for node_id in _own_nodes(client):
            accepted, why_not = client.drain_node(node_id, DRAIN_NODE_REASON_PREEMPTION, notice.words, gone_at_ms)
            if accepted:
                drained += 1
            else:
                logger.error("Ray does not drain node %s: %s", node_id, why_not)
    except Exception as error:  # no Ray yet, or none that answers: the next round tries again
        logger.error("this machine's node can't be drained yet: %s", error)
        return 0
    return drained


def _own_nodes(client: GcsClient) -> list[str]:
    addresses = {address.address for found in psutil.net_if_addrs().values() for address in found}
    return [
        node_id.hex()
        for node_id, node in client.get_all_node_info().items()
        if node.state == GcsNodeInfo.ALIVE and node.node_manager_address in addresses
    ]
