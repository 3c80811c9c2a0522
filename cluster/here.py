"""The files on this machine that a cluster file needs: keys, the token, what is copied to every machine."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from toprung.cluster.finding import Finding, error, pointer
from toprung.cluster.manifest import Manifest


def missing(manifest: Manifest) -> Iterator[Finding]:
    """Files that aren't there, and private ones that others can read (ssh refuses such a key)."""
    key = (manifest.config.get("auth") or {}).get("ssh_private_key")
    if key:
        yield from _private(key, "/auth/ssh_private_key", "the private half of the key pair that the machines know")
    for there, source in (manifest.config.get("file_mounts") or {}).items():
        at = pointer(("file_mounts", there))
        if str(source).endswith("auth_token"):
            yield from _private(source, at, "`ray get-auth-token --generate` makes it")
        elif not Path(source).expanduser().exists():
            yield error("missing_file", at, f"{source} is not there", "correct the path; it is copied to every machine")


def _private(source: str, at: str, remedy: str) -> Iterator[Finding]:
    path = Path(source).expanduser()
    if not path.is_file():
        yield error("missing_file", at, f"{source} is not there", remedy)
    elif path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        yield error("readable_secret", at, f"others can read {source}", f"chmod 600 {source}")
