"""Spaces as the ConfigSpace package has them, for DEHB and SMAC."""

from __future__ import annotations

from typing import Any

import numpy as np
from ConfigSpace import (
    AndConjunction,
    Categorical,
    Configuration,
    ConfigurationSpace,
    Float,
    InCondition,
    Integer,
)

from toprung.tuning.spec import CategoricalParameter, FloatParameter, IntParameter, Parameter, SearchSpace


def configuration_space(space: SearchSpace, seed: int) -> ConfigurationSpace:
    """The same space, conditions included.

    Raises:
        ValueError: a parameter has a step, or the space relations.
    """
    if space.relations:
        raise ValueError("relations between parameters can't be expressed")
    made = ConfigurationSpace(seed=seed)
    for parameter in space.parameters:
        child = _hyperparameter(parameter)
        made.add(child)
        conditions = [InCondition(child, made[name], list(values)) for name, values in parameter.when.items()]
        if conditions:
            made.add(conditions[0] if len(conditions) == 1 else AndConjunction(*conditions))
    return made


def params_of(config: Configuration) -> dict[str, Any]:
    """Its active parameters, as Python's own types."""
    return {name: value.item() if isinstance(value, np.generic) else value for name, value in dict(config).items()}


def _hyperparameter(parameter: Parameter) -> Any:
    match parameter.distribution:
        case FloatParameter(low=low, high=high, log=log, step=None):
            return Float(parameter.name, (low, high), log=log)
        case IntParameter(low=low, high=high, log=log, step=None):
            return Integer(parameter.name, (low, high), log=log)
        case CategoricalParameter(choices=choices):
            return Categorical(parameter.name, list(choices))
    raise ValueError(f"{parameter.name}: a step can't be expressed")
