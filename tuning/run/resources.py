"""What a trial asks of a cluster, and how often the cluster has it. Light: the service's replicas load this module."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import ray

from toprung.tuning.spec import Resources


def bundle(resources: Resources) -> dict[str, float]:
    """What one trial asks of Ray, by Ray's names."""
    wanted = {"CPU": resources.cpu, "GPU": resources.gpu}
    if resources.memory_gb is not None:
        wanted["memory"] = resources.memory_gb * 1e9
    if resources.accelerator_type is not None:
        wanted[f"accelerator_type:{resources.accelerator_type}"] = 0.001
    return {name: amount for name, amount in wanted.items() if amount}


def slots(resources: Resources) -> int:
    """How many trials fit on the cluster's present nodes at once, if nothing else ran there."""
    return slots_on([node["Resources"] for node in ray.nodes() if node["Alive"]], bundle(resources))


def slots_on(nodes: Iterable[Mapping[str, float]], wanted: Mapping[str, float]) -> int:
    """How many trials that want so much fit on empty nodes."""
    return sum(_fit_on(node, wanted) for node in nodes)


def _fit_on(node: Mapping[str, float], wanted: Mapping[str, float]) -> int:
    """How many such trials a node holds."""
    fits = [
        # a fractional GPU can't be pieced together from two devices
        int(node.get("GPU", 0)) * int(1 / amount + 1e-9)
        if name == "GPU" and amount < 1
        else int(node.get(name, 0.0) / amount + 1e-9)
        for name, amount in wanted.items()
    ]
    return min(fits, default=2**31)


class Accelerators:
    """The kinds of GPUs that nodes have, by Ray's names."""

    def __init__(self) -> None:
        self._types: dict[str, str | None] = {}

    def on(self, node_ip: str | None) -> str | None:
        """The type on a node; None where it has none, or none that Ray knows."""
        if node_ip is not None and node_ip not in self._types:
            self._types |= {node["NodeManagerAddress"]: _accelerator(node["Resources"]) for node in ray.nodes()}
            self._types.setdefault(node_ip, None)
        return self._types.get(node_ip or "")


def _accelerator(node: Mapping[str, float]) -> str | None:
    prefix = "accelerator_type:"
    return next((name.removeprefix(prefix) for name in node if name.startswith(prefix)), None)


def missing(resources: Resources) -> str:
    """What the trial wants and the largest node has, in words."""
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wants = [
        f"{name} {amount:g} (the largest node has {max((node.get(name, 0.0) for node in nodes), default=0.0):g})"
        for name, amount in bundle(resources).items()
        if all(node.get(name, 0.0) < amount for node in nodes)
    ]
    return "it asks for " + (", ".join(wants) or "more than any one node has together")
