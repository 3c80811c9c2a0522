"""What Ray Tune does for Ray's usage statistics."""

from __future__ import annotations

from ray.air._internal import usage


def count_no_callbacks() -> None:
    """From now on a Tuner doesn't count its callbacks by kind.

    To know the kinds, Tune 2.60 loads W&B, and MLflow, Comet and Aim where they are installed, before each sweep. On
    Python 3.11.7 and before that failed once, and the sweep with it: parsing in a process with several threads is
    a matter of luck there ("AST constructor recursion depth mismatch", cpython#106905).
    """
    usage.tag_callbacks = _recorded_nothing


def _recorded_nothing(callbacks: object) -> bool:
    return False
