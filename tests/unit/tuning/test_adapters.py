"""What the adapters to Tune owe it, without a cluster."""

from __future__ import annotations

from typing import Any, cast

from ray import cloudpickle

from toprung.tuning.plan import compared_at
from toprung.tuning.run.adapters import SweepSearcher
from toprung.tuning.run.comeback import Comeback
from toprung.tuning.run.ladder import Ladder
from toprung.tuning.run.ledger import Ledger
from toprung.tuning.schedule import scheduler_of
from toprung.tuning.search import Search
from toprung.tuning.spec import spec_from

SPEC = {
    "trainable": "train:train",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "search": {"algorithm": "random", "seed": 1},
    "budget": {"trials": 4},
}


def searcher() -> SweepSearcher:
    spec = spec_from(SPEC)
    ledger = Ledger("a-sweep", spec)
    search = Search(spec.space, spec.metric.goal, spec.search, compared_at(spec.scheduler))
    rule = scheduler_of(spec.scheduler, "minimize", 1)
    return SweepSearcher(ledger, search, rule, cast("Comeback", ()), Ladder(ledger, lambda resources: None))


def test_tune_can_pickle_the_searcher() -> None:
    """It does, before a sweep starts."""
    copy: Any = cloudpickle.loads(cloudpickle.dumps(searcher()))
    assert not copy.exhausted
