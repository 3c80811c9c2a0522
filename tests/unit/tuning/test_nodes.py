"""Looking at the cluster's nodes; the cluster is only told of."""

from __future__ import annotations

from toprung.tuning.run.nodes import Cluster, Lookout, Node


def test_a_node_that_leaves_is_there_and_takes_no_trials() -> None:
    a, b = Node("a", "a", {}), Node("b", "b", {})

    assert Cluster([a, b], frozenset("b")).usable == [a]


def test_whoever_asks_at_about_the_same_time_is_told_of_one_look() -> None:
    looks: list[Cluster] = []

    def look() -> Cluster:
        looks.append(Cluster())
        return looks[-1]

    lookout = Lookout(every_s=60.0, look=look)
    assert lookout.now() is lookout.now()
    assert len(looks) == 1
    eager = Lookout(every_s=-1.0, look=look)
    assert eager.now() is not eager.now()
