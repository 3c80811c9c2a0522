"""Proposing configurations: ask and tell in plain Python, without Ray."""

from toprung.tuning.search.cube import Params
from toprung.tuning.search.search import Search

__all__ = ["Params", "Search"]
