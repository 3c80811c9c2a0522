"""`toprung cluster plan`: the machines that Ray's autoscaler would start for a demand, and what they cost.

It is the autoscaler's own scheduler that decides, on the node types of the file, at a cluster without workers.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

from ray.autoscaler._private.util import prepare_config
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig
from ray.autoscaler.v2.scheduler import ResourceDemandScheduler, SchedulingRequest
from ray.autoscaler.v2.utils import ResourceRequestUtil
from ray.core.generated.common_pb2 import LabelSelectorOperator

from toprung.cluster.manifest import PRICE_LABEL, Manifest
from toprung.errors import InvalidInput
from toprung.tuning.run.resources import bundle
from toprung.tuning.spec import Resources
from toprung.tuning.spec.labels import read

_OPERATORS = {
    True: LabelSelectorOperator.LABEL_OPERATOR_IN,
    False: LabelSelectorOperator.LABEL_OPERATOR_NOT_IN,
}
"""By whether a label's values are wanted."""


@dataclass(frozen=True)
class Machines:
    """Machines of one type that would be started."""

    node_type: str
    count: int
    instance_type: str | None
    usd_per_hour: float | None
    """Of all of them together."""


@dataclass(frozen=True)
class Plan:
    """What a demand would bring up."""

    machines: tuple[Machines, ...]
    head: Machines
    waiting: int
    """Trials that no machine of the file can hold, or that are beyond its `max_workers`."""

    @property
    def usd_per_hour(self) -> float | None:
        """The head included; None where a price is not known."""
        prices = [machines.usd_per_hour for machines in (self.head, *self.machines)]
        return None if None in prices else sum(price for price in prices if price is not None)


def plan(config: dict[str, Any], resources: Resources, trials: int) -> Plan:
    """The machines for so many trials at once.

    Args:
        config: a cluster file that `check` finds no errors in.
        resources: of one trial.

    Raises:
        InvalidInput: the file has no node types: its machines are a list, and all are there already.
    """
    manifest = Manifest(config)
    if not manifest.node_types:
        raise InvalidInput("The file lists its machines (provider: local): nothing is provisioned on demand.")
    merged = prepare_config(copy.deepcopy(config))
    merged["auth"] = {}  # Ray would read the key to see whether it has changed
    prepared = AutoscalingConfig(merged, skip_content_hash=True)
    demand = [_request(resources)] * trials * resources.places
    request = SchedulingRequest(
        disable_launch_config_check=True,
        node_type_configs=prepared.get_node_type_configs(),
        max_num_nodes=prepared.get_max_num_nodes(),
        idle_timeout_s=prepared.get_idle_timeout_s(),
        resource_requests=ResourceRequestUtil.group_by_count(demand),
    )
    reply = ResourceDemandScheduler(None).schedule(request)
    machines = [_machines(manifest, launch.instance_type, launch.count) for launch in reply.to_launch]
    return Plan(
        machines=tuple(sorted(machines, key=lambda one: one.node_type)),
        head=_machines(manifest, str(manifest.head_type), 1),
        waiting=math.ceil(len(reply.infeasible_resource_requests) / resources.places),
    )


def _request(resources: Resources) -> Any:
    """As Ray's protocol has what a trial asks for, or each of its workers."""
    labels = [
        (name, _OPERATORS[are_wanted], values)
        for name, wanted in resources.labels.items()
        for are_wanted, values in [read(wanted)]
    ]
    return ResourceRequestUtil.make(bundle(resources), label_selectors=[labels] if labels else None)


def _machines(manifest: Manifest, name: str, count: int) -> Machines:
    node_type = manifest.node_types[name]
    price = (node_type.get("labels") or {}).get(PRICE_LABEL)
    node_config = node_type.get("node_config") or {}
    kind = node_config.get("InstanceType") or node_config.get("machineType")
    return Machines(name, count, kind, None if price is None else float(price) * count)
