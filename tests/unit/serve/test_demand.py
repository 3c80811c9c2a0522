"""What is asked of an autoscaler, for sweeps on a cluster that is only told of."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.serve.test_allotment import sweep

from toprung.cluster.growth import NODE_GROUP, Growth, NodeType
from toprung.serve.demand import Request, wanted
from toprung.serve.settings import Quota, Settings
from toprung.tuning.records import TrialState
from toprung.tuning.run.nodes import Node

GPU = {"CPU": 4.0, "GPU": 1.0}
HEAD = Node("head", "head", {"node:__internal_head__": 1.0})
SMALL = NodeType("small", GPU, {"ray.io/market-type": "spot"}, 4)
LARGE = NodeType("large", {"CPU": 48.0, "GPU": 4.0}, {}, 2)
GROWTH = Growth((SMALL, LARGE), 8)
ONE_GPU: dict[str, Any] = {"resources": {"cpu": 1, "gpu": 1}}


def asked(*sweeps: Any, there: tuple[Node, ...] = (HEAD,), out: set[str] | None = None, **changes: Any) -> Request:
    return wanted(sweeps, there, out or set(), changes.get("growth", GROWTH), changes.get("settings", Settings()))


def node(name: str, kind: NodeType) -> Node:
    return Node(name, name, kind.has, {**kind.labels, NODE_GROUP: kind.name})


@pytest.mark.parametrize(
    ("spec", "trials", "places"),
    [
        ({"concurrency": 3}, {}, 3),
        ({"concurrency": 100}, {}, 12),  # all that the cluster can become
        ({}, {TrialState.COMPLETED: 995}, 5),  # what is left of a thousand
        ({}, {TrialState.COMPLETED: 990, TrialState.RUNNING: 2, TrialState.PAUSED: 8}, 3),  # one may be promoted
        ({}, {TrialState.COMPLETED: 998, TrialState.RUNNING: 2}, 2),
        ({"resources": {"cpu": 1, "gpu": 1, "labels": {"ray.io/market-type": "spot"}}}, {}, 4),
        ({"resources": {"cpu": 1, "gpu": 1, "labels": {"ray.io/market-type": "reserved"}}}, {}, 0),
        ({"resources": {"cpu": 1, "gpu": 8}}, {}, 0),  # Ray would ignore the whole request for it
    ],
)
def test_no_more_than_a_sweep_can_use(spec: dict[str, Any], trials: dict[TrialState, int], places: int) -> None:
    one = sweep("a", **(ONE_GPU | spec)).model_copy(update={"trials": trials})
    assert len(asked(one)) == places


def test_several_sweeps_ask_for_what_is_fair_at_full_size() -> None:
    request = asked(sweep("a", **ONE_GPU), sweep("b", weight=3.0, **ONE_GPU), sweep("c", resources={"cpu": 8}))
    by_cpu = [dict(has) for has, _ in request]
    assert by_cpu.count({"CPU": 1.0, "GPU": 1.0}) == 12
    assert {"CPU": 8.0} in by_cpu, "GPU machines have CPUs to spare"
    limited = Settings(quotas={"ann": Quota(gpus=2)})
    owned = sweep("a", **ONE_GPU).model_copy(update={"owner": "ann"})
    assert len(asked(owned, settings=limited)) == 2


def test_what_is_there_counts_and_what_leaves_does_not() -> None:
    there = (HEAD, *(node(f"s{i}", SMALL) for i in range(4)))
    assert len(asked(sweep("a", **ONE_GPU), there=there)) == 12
    full = Growth((SMALL, LARGE), 4)  # no machine more
    assert len(asked(sweep("a", **ONE_GPU), there=there, growth=full)) == 4
    request = asked(sweep("a", **ONE_GPU), there=there, out={"s0"}, growth=full)
    assert [dict(labels) for _, labels in request] == [{"ray.io/node-id": "!in(s0)"}] * 3


def test_a_trial_with_workers_asks_for_all_of_them() -> None:
    several = sweep("a", concurrency=2, resources={"cpu": 1, "gpu": 1, "workers": 3})
    assert len(asked(several)) == 6
