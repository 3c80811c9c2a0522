"""The engine: the spec, search and early stopping in plain Python, and the runner that drives Ray Tune with them.

`ToprungSearch` and `ToprungScheduler` bring search and early stopping to a plain `ray.tune.Tuner`. They need Ray, which
the spec and the records don't: the names are loaded when first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toprung.tuning.tune import ToprungScheduler, ToprungSearch

__all__ = ["ToprungScheduler", "ToprungSearch"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'toprung.tuning' has no attribute {name!r}")
    return getattr(import_module("toprung.tuning.tune"), name)


def __dir__() -> list[str]:
    return __all__
