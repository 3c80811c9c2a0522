"""Toprung: hyperparameter sweeps on a Ray cluster.

    from toprung import Client

    sweep = Client().submit("sweep.yaml")
    sweep.wait()
    print(sweep.best().config)

This module runs on every Ray worker: the names are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toprung.client import AsyncClient, Client
    from toprung.errors import ToprungError
    from toprung.tuning.spec import SweepSpec

__all__ = ["AsyncClient", "Client", "SweepSpec", "ToprungError", "__version__"]

try:
    __version__ = version("toprung")
except PackageNotFoundError:  # sources on the path without an installation
    __version__ = "0+unknown"

_HOMES = {
    "AsyncClient": "toprung.client",
    "Client": "toprung.client",
    "SweepSpec": "toprung.tuning.spec",
    "ToprungError": "toprung.errors",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'toprung' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
