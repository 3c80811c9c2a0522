"""The environment that Ray needs, decided before it is imported: it reads parts of it once, on import.

RAY_AUTH_MODE is always set: left unset, 2.60 means something else for `ray.init`, for `ray start` and for its commands.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

TOKEN_FILE = "ray_auth_token"
_NICENESS = "RAY_worker_niceness"  # lower case is Ray's way with its internal settings


def own_cluster(home: Path) -> dict[str, str]:
    """Environment for a Ray of our own, on loopback; it asks for a token that only this user can read."""
    path = home / TOKEN_FILE
    if not path.exists():
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    return {
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN_PATH": str(path),
        **service_first(),
        # Ray puts a reachable address in the place of 127.0.0.1 (services.resolve_ip_for_localhost), but where this
        # switch of desktop systems says that a machine is a cluster by itself
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    }


def service_first() -> dict[str, str]:
    """Environment for a Ray whose workers aren't nice: training makes itself so (`toprung.tuning.niceness`)."""
    return {_NICENESS: os.environ.get(_NICENESS, "0")}


def joined_cluster() -> dict[str, str]:
    """Environment for somebody's cluster: what the user has set, else token where Ray's default token file is."""
    if "RAY_AUTH_MODE" in os.environ:
        return {}
    has_token = "RAY_AUTH_TOKEN" in os.environ or (Path.home() / ".ray" / "auth_token").exists()
    return {"RAY_AUTH_MODE": "token" if has_token else "disabled"}
