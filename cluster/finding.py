"""What a check of a cluster, or of a file that describes one, has found."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or will be."""

    severity: Literal["error", "warning"]
    """An error: it won't work, or isn't safe. A warning: it works until something happens."""
    code: str
    """Stable kind, e.g. `open_port`."""
    place: str
    """JSON Pointer (RFC 6901) into the file, a path on this machine, or the name of a node."""
    message: str
    remedy: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def error(code: str, place: str, message: str, remedy: str) -> Finding:
    return Finding("error", code, place, message, remedy)


def warning(code: str, place: str, message: str, remedy: str) -> Finding:
    return Finding("warning", code, place, message, remedy)


def pointer(path: Iterable[str | int]) -> str:
    """The JSON Pointer of a path of keys and indices."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)
