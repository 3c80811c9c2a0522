"""What the service knows about sweeps, on disk: SQLite or PostgreSQL."""

from toprung.serve.store.store import Store

__all__ = ["Store"]
