"""Toprung's search and early stopping for a plain `ray.tune.Tuner`, without the service."""

from toprung.tuning.tune.scheduler import ToprungScheduler
from toprung.tuning.tune.searcher import ToprungSearch

__all__ = ["ToprungScheduler", "ToprungSearch"]
