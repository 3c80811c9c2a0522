"""Sweeps in virtual time: the real search and early stopping, with learning curves instead of training."""

from toprung.tuning.simulate.clock import Curve, Params, Report, Strategy, ToprungStrategy, Values, simulate

__all__ = ["Curve", "Params", "Report", "Strategy", "ToprungStrategy", "Values", "simulate"]
