"""Who leaves a node that is about to go, and when."""

from __future__ import annotations

import math

from tests.unit.tuning.test_ledger import ledger as empty

from toprung.tuning.records import CheckpointRef
from toprung.tuning.run.departures import MARGIN_S, Departures
from toprung.tuning.run.ledger import Ledger

NODES = {0: frozenset({"n1"}), 1: frozenset({"n2"})}


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def running(*numbers: int) -> Ledger:
    ledger = empty()
    for number in numbers:
        ledger.open(number, {}, {}, 0)
        ledger.started(number)
    return ledger


def save(ledger: Ledger, number: int, step: int) -> None:
    saved = CheckpointRef(step=step, path=f"{number}/{step}")
    ledger.saved(number, saved, saved)


def name(node_id: str) -> str:
    return f"host-{node_id}"


def test_a_trial_moves_with_its_next_checkpoint() -> None:
    ledger, clock = running(0, 1), Clock()
    departures = Departures(ledger, clock)
    save(ledger, 0, 3)
    leaving = {"n1": clock.now + 120}
    assert list(departures.due(NODES, leaving, name)) == [], "the one it has may be old: it saves another"
    save(ledger, 0, 4)
    assert list(departures.due(NODES, leaving, name)) == [
        (0, "its node host-n1 is going away: goes on elsewhere from step 4")
    ]
    taken = ledger.take()
    assert taken is not None
    assert [warning for warning in taken[0].warnings if "host-n1" in warning] == [
        "node host-n1 is going away: its trials move as soon as they have saved a checkpoint"
    ]


def test_without_a_checkpoint_it_moves_shortly_before_the_end() -> None:
    ledger, clock = running(0), Clock()
    departures = Departures(ledger, clock)
    leaving = {"n1": clock.now + 120}
    assert not list(departures.due(NODES | {1: frozenset()}, leaving, name))
    clock.now += 121 - MARGIN_S
    assert [number for number, _ in departures.due({0: NODES[0]}, leaving, name)] == [0]


def test_where_nobody_says_when_it_runs_on() -> None:
    ledger, clock = running(0), Clock()
    departures = Departures(ledger, clock)
    for _ in range(3):
        clock.now += 1e6
        assert not list(departures.due({0: NODES[0]}, {"n1": math.inf}, name))
