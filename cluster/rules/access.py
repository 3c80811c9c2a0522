"""Who gets in: Ray's token, ports, public addresses, secrets in the file."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from toprung.cluster.finding import Finding, error, pointer, warning
from toprung.cluster.manifest import Manifest

_OPTION = r"{}[=\s]+(\S+)"
_SECRET = re.compile(
    r"\b(?P<name>WANDB_API_KEY|AWS_SECRET_ACCESS_KEY|RAY_AUTH_TOKEN|HF_TOKEN|TOPRUNG_TOKEN|\w*PASSWORD)=(?!\$|['\"]?\$)\S+"
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


def _is_loopback(host: str) -> bool:
    host = host.strip("'\"")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
