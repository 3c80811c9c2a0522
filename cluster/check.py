"""`toprung cluster check`: all that can be said of a cluster file before `ray up`, at once and without an account."""

from __future__ import annotations

from pathlib import Path

from toprung.cluster import here, rules
from toprung.cluster.finding import Finding
from toprung.cluster.manifest import Manifest
from toprung.cluster.validate import read, validate


def check(path: Path) -> list[Finding]:
    """What is wrong with a cluster file, errors first: by Ray's own validation, by Toprung's rules, and here.

    Raises:
        OSError: the file can't be read.
    """
    config, found = read(path)
    if not found:
        found = validate(config)
    if not any(finding.code in ("yaml", "schema") for finding in found):
        manifest = Manifest(config)
        found += [*rules.findings(manifest), *here.missing(manifest)]
    return sorted(found, key=lambda finding: finding.severity != "error")
