"""Shell completion of sweep names: asks the service, but never for long, and says nothing when it is away."""

from __future__ import annotations

from contextlib import closing

from toprung.cli.session import Session
from toprung.errors import ToprungError

TIMEOUT_S = 0.5
NUM_NAMES = 50


def sweep_names(incomplete: str) -> list[str]:
    try:
        with closing(Session()) as session:
            sweeps = session.client_for(TIMEOUT_S).sweeps(limit=NUM_NAMES)
            names = dict.fromkeys(sweep.name for sweep in sweeps)
    except (ToprungError, OSError):
        return []
    return [name for name in names if name.startswith(incomplete)]
