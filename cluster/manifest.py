"""A cluster file as its checks read it: where a command, an environment variable or an image stands in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

Config = dict[str, Any]

PRICE_LABEL = "toprung/usd-per-hour"
"""Label of a node type: what one such machine costs. Prices belong beside the machine; Ray has no field for them."""

_COMMANDS = (
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
_RAY_START = re.compile(r"\bray\s+start\b")
_IMAGE_KEYS = {True: ("head_image", "image"), False: ("worker_image", "image")}
_RUN_OPTIONS = {True: ("run_options", "head_run_options"), False: ("run_options", "worker_run_options")}


class Text(NamedTuple):
    """A string of the file, and the path to it."""

    path: tuple[str | int, ...]
    value: str


@dataclass(frozen=True)
class Manifest:
    """A cluster file that fits Ray's schema.

    Args:
        config: the file as read, before Ray adds its defaults.
    """

    config: Config

    @property
    def provider(self) -> str:
        return str(self.config.get("provider", {}).get("type", ""))

    @cached_property
    def node_types(self) -> dict[str, Config]:
        """What is under `available_node_types`; empty for `provider: local`, whose machines have no types."""
        types: dict[str, Config] = self.config.get("available_node_types") or {}
        return types

    @property
    def head_type(self) -> str | None:
        return self.config.get("head_node_type")

    @property
    def workers(self) -> list[str]:
        """The addresses of the machines beside the head, where the file lists them (`provider: local`)."""
        return self.config.get("provider", {}).get("worker_ips") or []

    @property
    def docker(self) -> Config:
        found: Config = self.config.get("docker") or {}
        return found

    def commands(self, *keys: str) -> Iterator[Text]:
        """The shell commands under these keys, or all; those of node types too."""
        for key in keys or _COMMANDS:
            for index, command in enumerate(self.config.get(key) or ()):
                yield Text((key, index), command)
            for name, node_type in self.node_types.items():
                for index, command in enumerate(node_type.get(key) or ()):
                    yield Text(("available_node_types", name, key, index), command)

    def ray_starts(self, head: bool) -> list[Text]:
        """The commands that start Ray on the head, or on the others."""
        key = "head_start_ray_commands" if head else "worker_start_ray_commands"
        return [text for text in self.commands(key) if _RAY_START.search(text.value)]

    def run_options(self, head: bool) -> Iterator[Text]:
        """What is handed to `docker run` on the head, or on the others."""
        for key in _RUN_OPTIONS[head]:
            for index, option in enumerate(self.docker.get(key) or ()):
                yield Text(("docker", key, index), option)

    def image(self, head: bool) -> Text | None:
        """The container image of the head, or of the others."""
        for key in _IMAGE_KEYS[head]:
            if self.docker.get(key):
                return Text(("docker", key), self.docker[key])
        return None

    def environment(self, head: bool) -> dict[str, str]:
        """What Ray's processes see on the head, or on the others: set by docker's options or before the command."""
        found: dict[str, str] = {}
        for text in [*self.run_options(head), *self.ray_starts(head)]:
            found |= dict(re.findall(r"\b([A-Za-z_][A-Za-z0-9_]*)=(\S+)", text.value))
        return found

    def strings(self) -> Iterator[Text]:
        """Every string of the file."""
        yield from strings(self.config)


def strings(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[Text]:
    """Every string at or below a node of parsed YAML."""
    if isinstance(node, str):
        yield Text(path, node)
    elif isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from strings(value, (*path, key))
