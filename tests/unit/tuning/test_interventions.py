"""What ends trials from outside, with a stand-in for Tune's loop."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests.unit.tuning.test_ledger import ledger as empty

from toprung.tuning.run import interventions as module
from toprung.tuning.run import nodes
from toprung.tuning.run.interventions import Interventions
from toprung.tuning.run.ladder import Ladder
from toprung.tuning.run.trainable import IDENTITY


class Trial:
    def __init__(self, number: int) -> None:
        self.config = {IDENTITY: {"number": number}}


def test_where_trials_are_is_asked_when_their_workers_change(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after each event of Tune's loop, of which a sweep with many trials has hundreds a second."""
    asked: list[int] = []

    def nodes_of(controller: Any, trial: Trial) -> frozenset[str]:
        asked.append(trial.config[IDENTITY]["number"])
        return frozenset({"a"})

    monkeypatch.setattr(module, "nodes_of", nodes_of)
    monkeypatch.setattr(nodes, "set_aside", list)
    monkeypatch.setattr(nodes, "leaving", dict)
    live: dict[object, object] = {}
    controller = SimpleNamespace(
        _trial_to_actor={}, _actor_manager=SimpleNamespace(_live_actors_to_ray_actors_resources=live)
    )
    ledger = empty()
    interventions = Interventions(ledger, Ladder(ledger, lambda resources: None), {}, {})

    def told(*numbers: int) -> None:
        asked.clear()
        for _ in range(3):
            interventions.carry_out(controller)
        assert asked == list(numbers)

    told()
    one, two = object(), object()
    controller._trial_to_actor[Trial(0)] = one
    told(0)
    live[one] = "its actor"
    told(0)
    assert interventions.health.where == {0: {"a"}}
    controller._trial_to_actor[Trial(1)] = two
    told(0, 1)
    controller._trial_to_actor.clear()
    controller._trial_to_actor[Trial(2)] = one  # whose worker is kept
    told(2)
