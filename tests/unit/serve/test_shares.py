"""Shares of a cluster: what is fair, whatever sweeps there are."""

from __future__ import annotations

import math
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toprung.serve.shares import Claim, Limit, shares


def claim(name: str, most: int = 100, *, priority: int = 0, weight: float = 1.0, **bundle: float) -> Claim:
    return Claim(name, tuple((bundle or {"CPU": 1.0}).items()), most, priority, weight)


def nodes(*sizes: int, kind: str = "CPU") -> list[dict[str, float]]:
    return [{kind: float(size), "memory": 1e9} for size in sizes]


def test_equals_share_by_weight() -> None:
    assert shares([claim("a"), claim("b", weight=2.0), claim("c")], nodes(8, 8)) == {"a": 4, "b": 8, "c": 4}


def test_what_one_does_not_want_the_others_have() -> None:
    assert shares([claim("a", 2), claim("b"), claim("c")], nodes(12)) == {"a": 2, "b": 5, "c": 5}


def test_higher_priority_is_served_first_and_each_has_one() -> None:
    claims = [claim("high", 6, priority=5), claim("a"), claim("b", weight=3.0)]
    assert shares(claims, nodes(10)) == {"high": 6, "a": 1, "b": 3}
    assert shares(claims, nodes(2)) == {"high": 1, "a": 1, "b": 0}, "it would keep a place that another one waits for"


def test_owners_have_no_more_than_their_quota() -> None:
    claims = [replace(claim(name), owner="ann") for name in "ab"] + [replace(claim("c"), owner="bob")]
    assert shares(claims, nodes(12), {"ann": Limit(trials=4)}) == {"a": 2, "b": 2, "c": 8}
    gpus = [replace(claim("a", GPU=0.5), owner="ann"), replace(claim("b", GPU=2.0), owner="ann")]
    assert shares(gpus, nodes(8, kind="GPU"), {"ann": Limit(gpus=3.0)}) == {"a": 2, "b": 1}


def test_the_scarcest_resource_counts() -> None:
    cluster = [{"CPU": 64.0, "GPU": 4.0}]
    assert shares([claim("gpus", CPU=1.0, GPU=1.0), claim("cpus", CPU=8.0)], cluster) == {"gpus": 4, "cpus": 7}
    assert shares([claim("a", GPU=1.0), claim("b", GPU=0.5)], cluster) == {"a": 2, "b": 4}


@pytest.mark.parametrize(("gpus", "per_trial", "places"), [(1, 0.5, 2), (1, 0.4, 2), (3, 0.5, 6), (8, 4, 2), (1, 2, 1)])
def test_gpus_are_not_pieced_together(gpus: int, per_trial: float, places: int) -> None:
    assert shares([claim("a", GPU=per_trial)], nodes(gpus, kind="GPU")) == {"a": places}


@given(
    claims=st.lists(
        st.tuples(st.integers(1, 12), st.integers(-1, 1), st.sampled_from([0.5, 1.0, 2.0, 3.0])), min_size=1, max_size=6
    ),
    sizes=st.lists(st.integers(1, 8), min_size=1, max_size=4),
)
def test_no_place_is_wasted_and_nobody_could_have_more_but_from_a_poorer_one(
    claims: list[tuple[int, int, float]], sizes: list[int]
) -> None:
    """Weighted max-min fairness by its definition, for trials that all need the same."""
    wanted = [claim(f"s{i}", most, priority=p, weight=w) for i, (most, p, w) in enumerate(claims)]
    given_to = shares(wanted, nodes(*sizes))
    total = sum(sizes)
    assert all(min(1, total) <= given_to[c.sweep_id] <= c.most for c in wanted[:total])
    assert not any(given_to[c.sweep_id] for c in wanted[total:]), "the first in the order have one each"
    if len(wanted) <= total:
        assert sum(given_to.values()) == min(total, sum(c.most for c in wanted))
    for hungry in wanted:
        count = given_to[hungry.sweep_id]
        if count == hungry.most:
            continue
        for other in wanted:
            others = given_to[other.sweep_id]
            if others <= 1:
                continue  # each has one, as far as there is room
            assert other.priority >= hungry.priority
            if other.priority == hungry.priority:
                # before its last place came to it, the other was not richer
                assert (others - 1) / other.weight <= count / hungry.weight + 1e-9


def test_what_only_some_nodes_have_is_left_to_those_that_need_it() -> None:
    gpus, cpus = {"CPU": 8.0, "GPU": 8.0}, {"CPU": 64.0}
    claims = [claim("cpus", CPU=1.0), claim("gpus", 8, CPU=1.0, GPU=1.0)]
    for cluster in ([gpus, cpus], [cpus, gpus]):
        assert shares(claims, cluster) == {"gpus": 8, "cpus": 64}
    large, small = {"GPU": 4.0, "accelerator_type:A100": 1.0}, {"GPU": 4.0, "accelerator_type:T4": 1.0}
    choosy = Claim("choosy", (("GPU", 1.0), ("accelerator_type:A100", 0.001)), most=100)
    for cluster in ([large, small], [small, large]):
        assert shares([claim("any", GPU=1.0), choosy], cluster) == {"any": 4, "choosy": 4}


def test_whole_machines_are_kept_for_those_that_need_them() -> None:
    assert shares([claim("large", GPU=4.0), claim("small", GPU=0.25)], nodes(8, kind="GPU")) == {
        "large": 1,
        "small": 16,
    }
    assert shares([claim("large", GPU=8.0), claim("small", GPU=0.25)], nodes(8, 8, kind="GPU")) == {
        "large": 1,
        "small": 32,
    }
    memory = [{"CPU": 32.0, "memory": 64e9}]
    assert shares([claim("fat", CPU=1.0, memory=16e9), claim("thin", CPU=1.0)], memory) == {"fat": 4, "thin": 28}


def test_one_that_no_node_can_hold_takes_nothing_and_waits() -> None:
    assert shares([claim("a", GPU=1.0), claim("b")], nodes(3)) == {"a": 1, "b": 3}
    assert shares([claim("a")], []) == {"a": 1}


def several(name: str, places: int, **bundle: float) -> Claim:
    return Claim(name, tuple((bundle or {"CPU": 1.0}).items()), 100, places=places)


def test_a_trial_has_all_its_workers_or_none() -> None:
    assert shares([several("a", 3)], nodes(2, 2, 3)) == {"a": 2}, "its workers may be on several nodes"
    assert shares([several("a", 4), claim("b", 1)], nodes(2, 2)) == {"a": 1, "b": 0}
    # what there was room for of a trial that doesn't fit is given back
    assert shares([claim("b", 1), several("a", 4), claim("c")], nodes(2, 2)) == {"b": 1, "a": 0, "c": 3}
    assert shares([several("a", 5), claim("b")], nodes(2, 2)) == {"a": 1, "b": 4}, "one that no cluster holds waits"
    gpus = [several("a", 2, GPU=2.0), claim("b", GPU=0.5), claim("c", GPU=1.0)]
    assert shares(gpus, nodes(3, 3, kind="GPU")) == {"a": 1, "b": 2, "c": 1}


def test_a_trial_counts_once_for_each_of_its_workers() -> None:
    assert shares([several("a", 2), claim("b")], nodes(12)) == {"a": 3, "b": 6}
    owned = [replace(several("a", 2, GPU=1.0), owner="ann")]
    assert shares(owned, nodes(8, kind="GPU"), {"ann": Limit(gpus=5.0)}) == {"a": 2}


def test_hundreds_of_places_are_shared_at_once() -> None:
    cluster = [{"CPU": 64.0, "GPU": 8.0}] * 64
    found = shares([claim(f"s{i}", 512, GPU=1.0, weight=1.0 + i % 2) for i in range(8)], cluster)
    assert sum(found.values()) == 512
    assert math.isclose(max(found.values()) / min(found.values()), 2.0, rel_tol=0.05)


def test_shares_of_a_large_cluster_are_found_quickly() -> None:
    """They are found anew with each trial that ends when few are left."""
    cluster = [{"CPU": 64.0, "GPU": 8.0}] * 64
    claims = [claim(f"s{i}", 512 * 4, GPU=0.25 if i % 2 else 1.0, weight=1.0 + i % 3) for i in range(8)]
    began = time.process_time()
    shares(claims, cluster)
    assert time.process_time() - began < 0.25
