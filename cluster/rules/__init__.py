"""What a cluster file needs for Toprung, beyond what Ray asks of it. Each rule is a function of the file.

The figures come from docs/cluster.md and from Ray's defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from toprung.cluster.finding import Finding
from toprung.cluster.manifest import Manifest
from toprung.cluster.rules.access import authentication, open_ports, secrets
from toprung.cluster.rules.machines import accelerators, head, memory, spot, versions
from toprung.cluster.rules.survival import storage, survival

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


def findings(manifest: Manifest) -> Iterator[Finding]:
    """What breaks one of the rules, in the order of `RULES`."""
    for rule in RULES:
        yield from rule(manifest)
