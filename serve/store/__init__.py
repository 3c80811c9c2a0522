"""What the service knows about sweeps, on disk: SQLite or PostgreSQL."""

from toprung.serve.store.retention import KnownSweep
from toprung.serve.store.store import Store

__all__ = ["KnownSweep", "Store"]
