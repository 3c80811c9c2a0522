"""What a trial asks of a cluster, and how often the cluster has it. Light: the service's replicas load this module."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Protocol

import ray

from toprung.tuning.run.nodes import NODE_ID, usable
from toprung.tuning.spec import Resources
from toprung.tuning.spec.labels import accepts


def bundle(resources: Resources) -> dict[str, float]:
    """What a trial asks of Ray, `resources.places` times, by Ray's names."""
    wanted = {"CPU": resources.cpu, "GPU": resources.gpu}
    if resources.memory_gb is not None:
        wanted["memory"] = resources.memory_gb * 1e9
    if resources.accelerator_type is not None:
        wanted[f"accelerator_type:{resources.accelerator_type}"] = 0.001
    return {name: amount for name, amount in wanted.items() if amount}


def selector(resources: Resources, avoided: Collection[str] = ()) -> dict[str, str]:
    """What labels a trial's node must have, in Ray's words.

    Args:
        resources: of the trial.
        avoided: ids of nodes where it must not begin.
    """
    besides = {NODE_ID: f"!in({','.join(sorted(avoided))})"} if avoided else {}
    return besides | resources.labels


class Machine(Protocol):
    """A node, or one that may come."""

    @property
    def has(self) -> Mapping[str, float]: ...

    @property
    def labels(self) -> Mapping[str, str]: ...


def wants(resources: Resources) -> dict[str, float]:
    """As `bundle`, with the labels that a node must have as one more thing that it has without end, see `offers`."""
    return bundle(resources) | ({_labels(resources): 1.0} if resources.labels else {})


def offers(nodes: Iterable[Machine], asked: Iterable[Resources]) -> list[dict[str, float]]:
    """What each node has for trials with these resources."""
    selectors = {_labels(resources): resources.labels for resources in asked if resources.labels}
    return [
        {**node.has, **{key: math.inf for key, wanted in selectors.items() if accepts(wanted, node.labels)}}
        for node in nodes
    ]


def _labels(resources: Resources) -> str:
    return "labels " + ", ".join(f"{name}={value}" for name, value in sorted(resources.labels.items()))


def slots(resources: Resources) -> int:
    """How many trials fit on the cluster's present nodes at once, if nothing else ran there."""
    return slots_on(offers(usable(), [resources]), wants(resources), resources.places)


def slots_on(nodes: Iterable[Mapping[str, float]], wanted: Mapping[str, float], places: int = 1) -> int:
    """How many trials that want so much, in so many places, fit on empty nodes."""
    return sum(_fit_on(node, wanted) for node in nodes) // places


def _fit_on(node: Mapping[str, float], wanted: Mapping[str, float]) -> int:
    """How many such places a node holds."""
    fits = [
        # a fractional GPU can't be pieced together from two devices
        int(node.get("GPU", 0)) * int(1 / amount + 1e-9)
        if name == "GPU" and amount < 1
        else int(min(node.get(name, 0.0) / amount, 2**31) + 1e-9)
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
    nodes, wanted = offers(usable(), [resources]), wants(resources)
    lacking = [
        f"{name} (no node has them)"
        if name.startswith("labels ")
        else f"{name} {amount:g} (the largest node has {max((node.get(name, 0.0) for node in nodes), default=0.0):g})"
        for name, amount in wanted.items()
        if all(node.get(name, 0.0) < amount for node in nodes)
    ]
    if resources.places > 1 and slots_on(nodes, wanted):
        return f"it asks for {resources.places} workers, and there is room for {slots_on(nodes, wanted)}"
    return "it asks for " + (", ".join(lacking) or "more than any one node has together")
