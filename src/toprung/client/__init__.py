"""The Python client: `Client` and `AsyncClient`. docs/python.md is its guide."""

from toprung.client.aio import AsyncClient, AsyncSweepHandle, AsyncTrialHandle
from toprung.client.sync import Client, SweepHandle, TrialHandle

__all__ = ["AsyncClient", "AsyncSweepHandle", "AsyncTrialHandle", "Client", "SweepHandle", "TrialHandle"]
