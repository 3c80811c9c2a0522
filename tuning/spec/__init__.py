"""The spec: what a user writes to describe a sweep. Loads without ray, torch or optuna.

Errors are `toprung.errors.InvalidSpec` with all problems at once.
"""

from toprung.tuning.spec.models import (
    AshaScheduler,
    Budget,
    Environment,
    Failures,
    Git,
    Goal,
    MedianScheduler,
    Metric,
    Mlflow,
    NoScheduler,
    Resources,
    Search,
    StopWhen,
    SweepSpec,
    Tracking,
    Wandb,
)
from toprung.tuning.spec.parameters import CategoricalParameter, Distribution, FloatParameter, IntParameter, Scalar
from toprung.tuning.spec.parse import dump_spec, json_schema, parse_spec, spec_from
from toprung.tuning.spec.space import Parameter, SearchSpace

__all__ = [
    "AshaScheduler",
    "Budget",
    "CategoricalParameter",
    "Distribution",
    "Environment",
    "Failures",
    "FloatParameter",
    "Git",
    "Goal",
    "IntParameter",
    "MedianScheduler",
    "Metric",
    "Mlflow",
    "NoScheduler",
    "Parameter",
    "Resources",
    "Scalar",
    "Search",
    "SearchSpace",
    "StopWhen",
    "SweepSpec",
    "Tracking",
    "Wandb",
    "dump_spec",
    "json_schema",
    "parse_spec",
    "spec_from",
]
