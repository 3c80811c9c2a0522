"""What a cluster can become: the node types that its autoscaler may start more of.

Ray tells nobody (its GCS has a place for that, which only Anyscale's autoscaler fills): the file is read that Ray's
autoscaler was started with, so only on the head. It is what `ray up` has made of cluster.yaml. Under KubeRay there is
none, and Kubernetes is asked.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.autoscaler._private.kuberay.node_provider import KubernetesHttpApiClient

from toprung.tuning.run.nodes import Node
from toprung.tuning.run.resources import offers, slots_on, wants
from toprung.tuning.spec import Resources

logger = logging.getLogger(__name__)

NODE_GROUP = "ray.io/node-group"
"""Ray's label of nodes that the autoscaler has started: their type."""
_MAX_WORKERS = 2
"""Ray's default."""
_MAX_AGE_S = 30.0
"""The file may be another after the next `ray up`; to find it all processes are looked at."""
_MONITOR = "--autoscaling-config="
_GCS = "--gcs-address="
_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
"""In a container of a pod."""


@dataclass(frozen=True)
class NodeType:
    """A kind of machine."""

    name: str
    has: Mapping[str, float]
    labels: Mapping[str, str]
    most: int
    """At once."""


@dataclass(frozen=True)
class Growth:
    """How far a cluster can grow."""

    types: tuple[NodeType, ...]
    most: int
    """Workers of all types together."""

    def to_come(self, nodes: Sequence[Node], wanted: Iterable[tuple[Resources, float]]) -> list[NodeType]:
        """Machines that may be started beside the present ones, one entry each.

        Args:
            nodes: that are there.
            wanted: what trials ask for, and how many more of them there would be.
        """
        there = Counter(node.labels.get(NODE_GROUP, "") for node in nodes if not node.is_head)
        left = {kind.name: kind.most - there[kind.name] for kind in self.types}
        budget = self.most - sum(not node.is_head for node in nodes)
        coming: list[NodeType] = []
        for resources, number in wanted:
            fits = {kind.name: slots_on(offers([kind], [resources]), wants(resources)) for kind in self.types}
            missing = number * resources.places
            while missing > 0 and len(coming) < budget:
                # the one that holds most of what is missing, of equals the smallest
                suited = [kind for kind in self.types if left[kind.name] > 0 and fits[kind.name]]
                if not suited:
                    break
                best = max(suited, key=lambda kind: (min(fits[kind.name], missing), -sum(kind.has.values())))
                coming.append(best)
                left[best.name] -= 1
                missing -= fits[best.name]
        return coming


def growth_of(config: Mapping[str, Any]) -> Growth | None:
    """What a file for `ray up` lets a cluster become; None: no more than it has from the start."""
    most = int(config.get("max_workers", _MAX_WORKERS))
    head = config.get("head_node_type")
    types = tuple(
        NodeType(
            name,
            {key: float(amount) for key, amount in (kind.get("resources") or {}).items()},
            dict(kind.get("labels") or {}),
            int(kind.get("max_workers", most)),
        )
        for name, kind in config.get("available_node_types", {}).items()
        if name != head and kind.get("max_workers", most) > kind.get("min_workers", 0)
    )
    return Growth(types, most) if types else None


@dataclass(frozen=True)
class _Known:
    growth: Growth | None
    at: float


_known: dict[str, _Known] = {}
"""By the address of the GCS."""


def growth(gcs_address: str, max_age_s: float = _MAX_AGE_S) -> Growth | None:
    """How far the cluster whose head this machine is can grow; None where it has no autoscaler, as far as is known.

    Args:
        gcs_address: of the cluster: there may be others on this machine.
        max_age_s: so long what was read holds; where it can't be read then, as long again, with a warning in the log.
    """
    known = _known.get(gcs_address)
    if known is None or time.monotonic() - known.at > max_age_s:
        try:
            found = _read(gcs_address)
        # a file that is being written anew, Kubernetes' API away, a version that is not known
        except Exception as error:
            logger.warning("what the cluster can become can't be read: %s: %s", type(error).__name__, error)
            found = known.growth if known else None
        known = _known[gcs_address] = _Known(found, time.monotonic())
    return known.growth


def _read(gcs_address: str) -> Growth | None:
    file = _config_file(gcs_address)
    config = _of_kuberay() if file is None else yaml.safe_load(file.read_text(encoding="utf-8"))
    return None if config is None else growth_of(config)


def _config_file(gcs_address: str) -> Path | None:
    """That the autoscaler reads, a process of Ray's beside the GCS."""
    for process in psutil.process_iter(["cmdline"]):
        given = process.info["cmdline"] or []
        if f"{_GCS}{gcs_address}" in given:
            found = [word.removeprefix(_MONITOR) for word in given if word.startswith(_MONITOR)]
            if found and found[0]:
                return Path(found[0]).expanduser()
    return None


def _of_kuberay() -> dict[str, Any] | None:
    """The same from Kubernetes, as KubeRay's autoscaler, in a container of its own, makes it; None: it is not there."""
    name = os.environ.get("RAY_CLUSTER_NAME")
    if not name or not _NAMESPACE.exists():
        return None
    # the head's account may read its cluster where there is an autoscaler
    api = KubernetesHttpApiClient(_NAMESPACE.read_text(encoding="utf-8").strip())
    cluster = api.get(f"rayclusters/{name}")
    config: dict[str, Any] = _derive_autoscaling_config_from_ray_cr(cluster)
    return config if cluster["spec"].get("enableInTreeAutoscaling") else None
