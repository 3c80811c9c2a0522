"""What the machines are and run: versions, GPUs, how they are bought, what trials may take of them."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator
from typing import Any

import ray
import ray.util.accelerators

from toprung.cluster.finding import Finding, error, pointer, warning
from toprung.cluster.manifest import Manifest

ACCELERATOR = "accelerator_type:"
"""Begins the name of Ray's resource for a type of GPU."""
ACCELERATOR_LABEL = "ray.io/accelerator-type"
MARKET_LABEL = "ray.io/market-type"

_ACCELERATORS = {
    value for name, value in vars(ray.util.accelerators).items() if name.isupper() and isinstance(value, str)
}
_TAG = re.compile(r"rayproject/[\w-]+:(?P<ray>\d+\.\d+\.\d+)(?:-py(?P<python>\d+))?(?:-(?P<device>[a-z0-9]+))?")
_TOPRUNG = re.compile(r"""\btoprung(?:\[[\w,]+\])?(?:==(?P<version>[\w.]+))?(?=["'\s]|$)""")
_PIP_INSTALL = re.compile(r"\b(?:pip3?|uv pip)\s+install\b")


def versions(manifest: Manifest) -> Iterator[Finding]:
    """Ray, Python and Toprung are the same everywhere, and those of this machine, which starts the cluster."""
    pythons = {}
    for head in (True, False):
        image = manifest.image(head)
        tag = image and _TAG.search(image.value)
        if image is None or tag is None:
            continue
        at = pointer(image.path)
        if tag["ray"] != ray.__version__:
            yield error(
                "ray_version",
                at,
                f"Ray {tag['ray']} in {image.value}, and {ray.__version__} on this machine",
                f"use rayproject/ray:{ray.__version__}-py…, or install ray=={tag['ray']} here",
            )
        pythons[at] = tag["python"]
    if len(set(pythons.values())) > 1:
        at = list(pythons)[-1]
        yield error(
            "python_version",
            at,
            f"the head and the workers have different versions of Python ({', '.join(map(str, pythons.values()))})",
            "use images whose tags have the same -py part: code that one pickles the other must read",
        )
    yield from _installed_toprung(manifest)


def _installed_toprung(manifest: Manifest) -> Iterator[Finding]:
    ours = importlib.metadata.version("toprung")
    places = [
        (text, found)
        for text in manifest.commands("setup_commands", "head_setup_commands", "worker_setup_commands")
        if _PIP_INSTALL.search(text.value) and (found := _TOPRUNG.search(text.value))
    ]
    for text, found in places:
        if found["version"] is None:
            yield error(
                "toprung_version",
                pointer(text.path),
                "toprung is installed without a version: a worker that joins next week gets another one",
                f'pin it: "toprung[server]=={ours}"',
            )
        elif found["version"] != ours:
            yield warning(
                "toprung_version",
                pointer(text.path),
                f"toprung {found['version']} on the cluster, and {ours} on this machine",
                f"pin {ours}, or install toprung=={found['version']} here",
            )
    if not places and not any(".whl" in text.value for text in manifest.commands()):
        yield warning(
            "toprung_missing",
            "/setup_commands",
            "no command installs toprung",
            f'add `pip install "toprung[server]=={ours}"` to setup_commands, unless it is in your image',
        )


def accelerators(manifest: Manifest) -> Iterator[Finding]:
    """Each type of machine with GPUs says which, in a word that Ray knows, and runs an image with CUDA."""
    for name, node_type in manifest.node_types.items():
        at = ("available_node_types", name)
        resources, labels = node_type.get("resources") or {}, node_type.get("labels") or {}
        stated = [key.removeprefix(ACCELERATOR) for key in resources if key.startswith(ACCELERATOR)]
        label = labels.get(ACCELERATOR_LABEL)
        for where, kind in [*((("resources", ACCELERATOR + kind), kind) for kind in stated), (("labels",), label)]:
            if kind is not None and kind not in _ACCELERATORS:
                yield error(
                    "accelerator_type",
                    pointer((*at, *where)),
                    f"{kind} is no type of GPU that Ray knows",
                    f"one of {', '.join(sorted(_ACCELERATORS))}",
                )
        if not resources.get("GPU"):
            continue
        if label is None or not stated:
            kind = label or (stated[0] if stated else "A10G")
            yield warning(
                "accelerator_type",
                pointer(at),
                "trials that ask for this type of GPU won't start such a machine while there is none",
                f'state it twice: resources {{"{ACCELERATOR}{kind}": 1}} and labels {{{ACCELERATOR_LABEL}: {kind}}}',
            )
        elif label not in stated:
            yield error(
                "accelerator_type",
                pointer((*at, "labels")),
                f"the label says {label}, the resources {stated[0]}",
                "state the same in both",
            )
        image = manifest.image(head=name == manifest.head_type)
        tag = image and _TAG.search(image.value)
        if image and tag and tag["device"] == "cpu":
            yield error(
                "image_without_cuda",
                pointer(image.path),
                f"{name} has GPUs, and {image.value} has no CUDA",
                f"rayproject/ray:{ray.__version__}-py{tag['python'] or '311'}-cu128",
            )


def spot(manifest: Manifest) -> Iterator[Finding]:
    """What is bought on the spot market is labelled so, and can be."""
    if manifest.provider not in ("aws", "gcp"):
        return
    bought_on_spot = False
    for name, node_type in manifest.node_types.items():
        at = ("available_node_types", name)
        market = "spot" if _is_spot(node_type.get("node_config") or {}) else "on-demand"
        bought_on_spot |= market == "spot"
        label = (node_type.get("labels") or {}).get(MARKET_LABEL)
        if label is not None and label != market:
            yield error(
                "market_type",
                pointer((*at, "labels")),
                f"the label says {label}, node_config buys {market}",
                f"{MARKET_LABEL}: {market}, or change InstanceMarketOptions (AWS), scheduling.provisioningModel (GCP)",
            )
    if bought_on_spot and (manifest.config.get("provider") or {}).get("cache_stopped_nodes", True):
        yield error(
            "spot_cannot_stop",
            "/provider/cache_stopped_nodes",
            "spot machines are not stopped and started again, which is what Ray does with idle ones",
            "cache_stopped_nodes: false",
        )


def _is_spot(node_config: dict[str, Any]) -> bool:
    """By the fields of EC2's RunInstances and of Compute Engine's instances.insert."""
    scheduling = node_config.get("scheduling") or {}
    return (node_config.get("InstanceMarketOptions") or {}).get("MarketType") == "spot" or (
        scheduling.get("provisioningModel") == "SPOT" or bool(scheduling.get("preemptible"))
    )


def head(manifest: Manifest) -> Iterator[Finding]:
    """The head runs the service, not trials."""
    resources = (manifest.node_types.get(manifest.head_type or "") or {}).get("resources") or {}
    if len(manifest.node_types) > 1 and resources.get("CPU") != 0:
        yield warning(
            "trials_on_head",
            pointer(("available_node_types", manifest.head_type or "", "resources")),
            "trials may run on the head, and take the service's memory from it",
            "resources: {CPU: 0}",
        )


def memory(manifest: Manifest) -> Iterator[Finding]:
    """Of machines that are not there yet Ray knows what the file says, and of EC2's types how much memory they have."""
    if manifest.provider == "aws":
        return
    for name, node_type in manifest.node_types.items():
        if name != manifest.head_type and "memory" not in (node_type.get("resources") or {}):
            yield warning(
                "no_memory",
                pointer(("available_node_types", name, "resources")),
                "no such machine is started for a trial that asks for memory (resources.memory_gb)",
                "state it in bytes, about 70 % of what the machine has, e.g. memory: 24000000000 of 32 GiB",
            )
