"""What outlives a machine: the cluster's state, the service, checkpoints."""

from __future__ import annotations

import re
from collections.abc import Iterator

from toprung.cluster.finding import Finding, error, pointer, warning
from toprung.cluster.manifest import Manifest

_SUPERVISED = re.compile(r"\btoprung up\b.*\s--\s+\S*ray start\b")
_STORAGE = re.compile(r"\bstorage:\s*[\"']?(s3|gs)://")
_SHARED = re.compile(r"\b(?:ln|mount)\b.*/runs\b|[\"']storage:\s*/")
"""A folder that is shared, one hopes, takes the place of the one for checkpoints, or is named instead."""


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
