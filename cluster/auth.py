"""Ray's authentication, decided before Ray is imported: its native code reads RAY_AUTH_MODE once, on import.

RAY_AUTH_MODE is always set: left unset, 2.60 means something else for `ray.init`, for `ray start` and for its commands.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path

TOKEN_FILE = "ray_auth_token"


def own_cluster(home: Path) -> dict[str, str]:
    """Environment for a Ray of our own: it asks for a token that only this user can read, made on first use."""
    path = home / TOKEN_FILE
    if not path.exists():
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(path)}


def joined_cluster() -> dict[str, str]:
    """Environment for somebody's cluster: what the user has set, else token where Ray's default token file is."""
    if "RAY_AUTH_MODE" in os.environ:
        return {}
    has_token = "RAY_AUTH_TOKEN" in os.environ or (Path.home() / ".ray" / "auth_token").exists()
    return {"RAY_AUTH_MODE": "token" if has_token else "disabled"}
