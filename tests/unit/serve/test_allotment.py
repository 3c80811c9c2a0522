"""Shares as sweeps come and go, on a cluster that is only told of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toprung.serve.allotment import Allotment
from toprung.serve.settings import Settings
from toprung.tuning.records import Sweep, SweepState, TrialState, utc_now
from toprung.tuning.run.nodes import Node
from toprung.tuning.spec import spec_from

A = Node("a", "a", {"CPU": 16.0})


def sweep(name: str, running: int = 0, **spec: Any) -> Sweep:
    whole = {
        "trainable": "train:train",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "budget": {"trials": 1000},
        **spec,
    }
    trials = {TrialState.RUNNING: running} if running else {}
    return Sweep(
        id=name,
        name=name,
        state=SweepState.RUNNING,
        spec=spec_from(whole),
        created_at=utc_now(),
        trials=trials,
        num_trials=1000,
    )


def shares_of(allotment: Allotment, *sweeps: Sweep, nodes: Sequence[Node] = (A,)) -> list[int]:
    allotment.update(sweeps, nodes)
    return [allotment.share(sweep.id) for sweep in sweeps]


def test_sweeps_that_start_together_begin_with_their_shares() -> None:
    found = Allotment(Settings())
    assert shares_of(found, sweep("a"), sweep("b", weight=2.0), sweep("c")) == [4, 8, 4]
    assert shares_of(found, sweep("a", 4), sweep("b", weight=2.0), sweep("c")) == [4, 8, 4], "none takes another's"


def test_the_others_keep_their_places_until_a_sweep_can_use_them() -> None:
    found = Allotment(Settings())
    shares_of(found, sweep("a", 8), sweep("b", 8))
    late = {"priority": 1, "concurrency": 8}
    assert shares_of(found, sweep("late", **late), sweep("a", 8), sweep("b", 8)) == [8, 8, 7]
    assert shares_of(found, sweep("late", 1, **late), sweep("a", 8), sweep("b", 8)) == [8, 4, 4]


def test_what_a_node_takes_along_is_nobodys() -> None:
    found = Allotment(Settings())
    both = (A, Node("b", "b", {"CPU": 8.0}))
    assert shares_of(found, sweep("a", 12), sweep("b", 12), nodes=both) == [12, 12]
    assert shares_of(found, sweep("late"), sweep("a", 12), sweep("b", 12)) == [6, 8, 7]


def test_trials_that_wait_at_rungs_are_no_demand() -> None:
    found = Allotment(Settings())
    waiting = {TrialState.PAUSED: 90, TrialState.RUNNING: 1, TrialState.COMPLETED: 9}
    tail = sweep("tail", preemption=True).model_copy(update={"trials": waiting, "num_trials": 100})
    assert shares_of(found, tail, sweep("a", 14)) == [2, 14]
    assert not found.must_make_room(sweep("a", 14)), "nothing may ever come of them"
    promoted = tail.model_copy(update={"trials": {**waiting, TrialState.PAUSED: 89, TrialState.PENDING: 1}})
    shares_of(found, promoted, sweep("a", 14))
    assert found.must_make_room(sweep("a", 14))


def test_labels_place_trials() -> None:
    nodes = (A, Node("b", "b", {"CPU": 4.0}, {"ray.io/market-type": "spot"}))
    found = Allotment(Settings())
    spot = sweep("spot", resources={"labels": {"ray.io/market-type": "spot"}})
    assert shares_of(found, spot, sweep("any"), nodes=nodes) == [4, 16]
    assert shares_of(found, sweep("own", resources={"labels": {"ray.io/market-type": "!spot"}}), nodes=nodes) == [16]
    nowhere = sweep("nowhere", resources={"labels": {"ray.io/market-type": "reserved"}})
    assert shares_of(found, nowhere, sweep("any"), nodes=nodes) == [1, 20], "one waits for such a node"
