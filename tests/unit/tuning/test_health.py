"""Which node is set aside, and which is not."""

from __future__ import annotations

import pytest

from toprung.tuning.records import FailureKind
from toprung.tuning.run.health import Health


def at(**nodes: str) -> Health:
    """Trials by number (`t0="a"`), each on a node."""
    health = Health()
    health.where = {int(name[1:]): frozenset(node.split("+")) for name, node in nodes.items()}
    return health


def test_three_in_a_row_that_go_well_elsewhere() -> None:
    health = at(t0="sick", t1="sick", t2="sick", t3="good")
    assert health.failed(0, 1) is None
    assert health.failed(1, 0) is None
    health.reported(3, 2)
    assert health.failed(2, 1) == ("sick", [0, 1, 2])


@pytest.mark.parametrize("kind", ["gpu_oom", "host_oom", "timeout", "node_lost", "preempted"])
def test_a_node_that_is_smaller_or_slower_or_goes_is_not_sick(kind: str) -> None:
    health = at(t0="small", t1="small", t2="small", t3="large")
    for number in (0, 1, 2):
        health.reported(3, number + 2)
        assert health.failed(number, 1, FailureKind(kind)) is None


def test_one_trial_that_fails_again_and_again_is_its_own_fault() -> None:
    health = at(t0="a", t1="a", t9="b")
    results = []
    for number in (0, 0, 0, 1, 1, 1):
        health.reported(9, 5)
        results.append(health.failed(number, 0))
    assert results == [None] * 6


def test_a_sweep_whose_code_always_fails_sets_nothing_aside() -> None:
    health = at(**{f"t{i}": "ab"[i % 2] for i in range(20)})
    assert [health.failed(i, 1) for i in range(20)] == [None] * 20
    alone = at(t0="only", t1="only", t2="only")
    assert [alone.failed(i, 1) for i in range(3)] == [None] * 3


def test_nobody_has_come_further_elsewhere() -> None:
    health = at(t0="a", t1="a", t2="a", t3="b")
    health.reported(3, 9)  # before
    for number in range(3):
        health.failed(number, 4)
        health.reported(3, 4)  # as far as they came
    assert health.failed(0, 4) is None


def test_what_goes_well_between_them_ends_the_row() -> None:
    health = at(t0="a", t1="a", t2="a", t4="a", t9="b")
    health.failed(0, 0)
    health.failed(1, 0)
    health.went_well(4)
    assert health.failed(2, 0) is None
    health.reported(9, 1)
    assert health.failed(0, 0) is None
    assert health.failed(1, 0) == ("a", [0, 1, 2])


def test_a_large_node_where_more_go_on_is_not_blamed() -> None:
    health = at(t0="large", t1="large", t2="large", t3="large", t4="large", t9="small")
    for number in (0, 1):
        health.failed(number, 1)
    for number in (3, 4, 9):
        health.reported(number, 2)
    assert health.failed(2, 1) is None


def test_trials_with_several_nodes_blame_none() -> None:
    health = at(t0="a+b", t1="a+b", t2="a+b", t9="c")
    for number in (0, 1, 2):
        health.reported(9, number + 1)
        assert health.failed(number, 0) is None
