"""What a cluster file needs for Toprung, beyond what Ray asks of it. Each rule is a function of the file.

The figures come from docs/cluster.md and from Ray's defaults.
"""

from __future__ import annotations

import importlib.metadata
import ipaddress
import re
from collections.abc import Callable, Iterator
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
_SUPERVISED = re.compile(r"\btoprung up\b.*\s--\s+\S*ray start\b")
_STORAGE = re.compile(r"\bstorage:\s*[\"']?(s3|gs)://")
_SHARED = re.compile(r"\b(?:ln|mount)\b.*/runs\b|[\"']storage:\s*/")
"""A folder that is shared, one hopes, takes the place of the one for checkpoints, or is named instead."""
_OPTION = r"{}[=\s]+(\S+)"
_SECRET = re.compile(
    r"\b(?P<name>WANDB_API_KEY|AWS_SECRET_ACCESS_KEY|RAY_AUTH_TOKEN|HF_TOKEN|TOPRUNG_TOKEN|\w*PASSWORD)=(?!\$|['\"]?\$)\S+"
)


def findings(manifest: Manifest) -> Iterator[Finding]:
    """What breaks one of the rules, in the order of `RULES`."""
    for rule in RULES:
        yield from rule(manifest)


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


def authentication(manifest: Manifest) -> Iterator[Finding]:
    """Ray asks for its token on every machine, and each has it."""
    for head in (True, False):
        starts = manifest.ray_starts(head)
        mode = manifest.environment(head).get("RAY_AUTH_MODE")
        if starts and mode != "token":
            what = "is not set" if mode is None else f"is {mode}"
            yield error(
                "auth_off",
                pointer(starts[0].path),
                f"RAY_AUTH_MODE {what}: whoever reaches Ray's ports runs code on the {'head' if head else 'workers'}",
                "set RAY_AUTH_MODE=token, in docker.run_options or before `ray start`",
            )
    mounted = manifest.config.get("file_mounts") or {}
    named = {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"} & set(manifest.environment(head=True))
    if not named and not any(str(there).endswith(".ray/auth_token") for there in mounted):
        yield error(
            "no_auth_token",
            "/file_mounts",
            "no machine is given the token",
            "generate it once with `ray get-auth-token --generate`, then file_mounts: "
            "{/home/ray/.ray/auth_token: ~/.ray/auth_token}",
        )


def open_ports(manifest: Manifest) -> Iterator[Finding]:
    """Nobody from outside reaches Ray, its dashboard, or the service without TLS."""
    for text in manifest.ray_starts(head=True):
        for host in re.findall(_OPTION.format("--dashboard-host"), text.value):
            if not _is_loopback(host):
                yield error(
                    "open_port",
                    pointer(text.path),
                    f"the dashboard and its job API listen on {host}",
                    "--dashboard-host=127.0.0.1, and `ray dashboard cluster.yaml` to see it",
                )
    for text in manifest.commands("head_start_ray_commands"):
        for host in re.findall(_OPTION.format(r"toprung up\b.*--host"), text.value):
            if not _is_loopback(host):
                yield warning(
                    "open_port",
                    pointer(text.path),
                    f"the service listens on {host}; it asks for tokens there, and speaks plain HTTP",
                    "leave --host out and reach it by `ray attach … --port-forward 8000`, or put TLS in front",
                )
    for head in (True, False):
        for text in manifest.run_options(head):
            if re.search(r"(^|\s)(-p|--publish)\b", text.value):
                yield warning(
                    "open_port",
                    pointer(text.path),
                    "the container's ports are published on all addresses of the machine",
                    "leave it out: Ray runs its containers in the machine's own network",
                )
    if manifest.provider == "aws":
        yield from _security_groups(manifest)
    if manifest.provider == "gcp":
        yield from _public_addresses(manifest)


def _security_groups(manifest: Manifest) -> Iterator[Finding]:
    for name, node_type in manifest.node_types.items():
        if not (node_type.get("node_config") or {}).get("SecurityGroupIds"):
            yield error(
                "open_port",
                pointer(("available_node_types", name, "node_config")),
                "without SecurityGroupIds Ray makes a group that opens port 22 to the world",
                "make a group with all TCP within itself and port 22 from your bastion alone, and name it here",
            )


def _public_addresses(manifest: Manifest) -> Iterator[Finding]:
    for name, node_type in manifest.node_types.items():
        interfaces = (node_type.get("node_config") or {}).get("networkInterfaces") or [{"accessConfigs": True}]
        if any(interface.get("accessConfigs") for interface in interfaces):
            yield warning(
                "open_port",
                pointer(("available_node_types", name, "node_config", "networkInterfaces")),
                "the machine gets a public address, as Ray gives it where no networkInterfaces are named",
                "networkInterfaces: [{subnetwork: projects/…/subnetworks/…}] without accessConfigs, and Cloud NAT",
            )


def survival(manifest: Manifest) -> Iterator[Finding]:
    """The head may die and come back, and a machine that falls silent is noticed."""
    head = manifest.environment(head=True)
    starts = manifest.ray_starts(head=True)
    at = pointer(starts[0].path) if starts else "/head_start_ray_commands"
    if not {"RAY_REDIS_ADDRESS", "RAY_gcs_storage"} & set(head):
        yield warning(
            "head_restart",
            at,
            "when the head's Ray dies, the cluster and all that runs on it are lost",
            "RAY_gcs_storage=rocksdb RAY_gcs_storage_path=DIR before `ray start`, DIR on a disk that outlives the head",
        )
    elif manifest.docker and (folder := head.get("RAY_gcs_storage_path")) and not _mounted(manifest, folder):
        yield error(
            "head_restart",
            at,
            f"{folder} is in the container and goes with it",
            f"docker.head_run_options: -v {folder}:{folder}",
        )
    for text in manifest.commands("head_start_ray_commands"):
        if re.search(r"\btoprung up\b", text.value) and not _SUPERVISED.search(text.value):
            yield warning(
                "head_restart",
                pointer(text.path),
                "when Ray or the service on the head dies, nothing starts it again",
                "toprung up -- ray start --head …: it starts both, again when they end",
            )
    for kind in (True, False):
        if manifest.ray_starts(kind) and "RAY_grpc_client_keepalive_time_ms" not in manifest.environment(kind):
            yield warning(
                "slow_to_notice",
                pointer(manifest.ray_starts(kind)[0].path),
                "a machine that falls silent is noticed after seven minutes",
                "RAY_grpc_client_keepalive_time_ms=10000 RAY_grpc_client_keepalive_timeout_ms=5000 on every machine",
            )
            break


def storage(manifest: Manifest) -> Iterator[Finding]:
    """Checkpoints lie where another machine finds them."""
    set_there = any(_STORAGE.search(text.value) for text in manifest.commands("setup_commands", "head_setup_commands"))
    if manifest.docker and len(manifest.node_types) != 1 and not set_there:
        home = manifest.environment(head=True).get("TOPRUNG_HOME", "/home/ray/.toprung")
        if not _mounted(manifest, f"{home}/runs", head=False):
            yield error(
                "storage",
                "/docker/run_options",
                f"checkpoints are written to {home}/runs in each machine's own container: no other finds them",
                f"head_setup_commands: echo 'storage: s3://BUCKET/runs' >> {home}/config.yaml, or mount a file system "
                f"that all machines share, -v /mnt/shared/runs:{home}/runs",
            )
    shared = any(_SHARED.search(text.value) for text in manifest.commands())
    if manifest.workers and not manifest.docker and not set_there and not shared:
        yield warning(
            "storage",
            "/setup_commands",
            "checkpoints go to ~/.toprung/runs on each machine's own disk: no other finds them, unless all share it",
            "mkdir -p ~/.toprung && ln -sfn /mnt/shared/runs ~/.toprung/runs, or head_setup_commands: "
            "echo 'storage: s3://BUCKET/runs' >> ~/.toprung/config.yaml",
        )


def _mounted(manifest: Manifest, folder: str, head: bool = True) -> bool:
    """Whether a folder of the container lies on the machine."""
    volumes = [
        volume
        for text in manifest.run_options(head)
        for volume in re.findall(r"(?:-v|--volume)[=\s]+\S+?:(\S+?)(?::\S+)?(?=\s|$)", text.value)
    ]
    return any(folder == volume or folder.startswith(f"{volume}/") for volume in volumes)


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


def secrets(manifest: Manifest) -> Iterator[Finding]:
    """No secret stands in the file."""
    for text in manifest.strings():
        for found in _SECRET.finditer(text.value):
            yield error(
                "secret",
                pointer(text.path),
                f"the value of {found['name']} stands in the file",
                "export it in the shell that starts Ray, or mount a file; then make a new one: this one has been seen",
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


def _is_loopback(host: str) -> bool:
    host = host.strip("'\"")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


RULES: tuple[Callable[[Manifest], Iterator[Finding]], ...] = (
    versions,
    accelerators,
    authentication,
    open_ports,
    survival,
    storage,
    spot,
    head,
    memory,
    secrets,
)
