"""Other systems as strategies of the simulator: their real classes, asked and told as their own drivers do.

    strategy = PEERS["ray"](problem, grace=3, eta=3, seed=0)

A peer runs where its packages are installed (requirements-peers.txt); `available` says which do here. Spaces are
translated as a user of the peer would write them, conditions included where it has them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass

from problems import Problem, space

from toprung.tuning.simulate import Strategy

FULL_TRAININGS = 30
"""The budget of a sweep, which some peers want to know: the steps of so many full trainings."""


@dataclass(frozen=True)
class Peer:
    """A strategy whose packages load when it is first needed, in the process that needs it.

    Attributes:
        module: of this package.
        name: of what the module calls with (space, max_t, grace, eta, seed).
    """

    module: str
    name: str

    def __call__(self, problem: Problem, grace: int, eta: int, seed: int) -> Strategy:
        """A fresh sweep of the problem.

        Raises:
            ImportError: the peer's packages are not installed, or don't work here.
            ValueError: the peer can't express the problem's space.
        """
        start = getattr(importlib.import_module(f"peers.{self.module}"), self.name)
        strategy: Strategy = start(space(problem.parameters), problem.max_t, grace, eta, seed)
        return strategy


PEERS: dict[str, Peer] = {
    "ray": Peer("ray_tune", "RayTune"),
    "optuna hyperband": Peer("optuna_study", "tpe_hyperband"),
    "optuna halving": Peer("optuna_study", "tpe_successive_halving"),
    "syne-tune asha": Peer("syne_tune_scheduler", "asha"),
    "syne-tune bohb": Peer("syne_tune_scheduler", "bohb"),
    "syne-tune bore": Peer("syne_tune_scheduler", "bore"),
    "syne-tune cqr": Peer("syne_tune_scheduler", "cqr"),
    "dehb": Peer("dehb_optimizer", "Dehb"),
    "smac": Peer("smac_facade", "Smac"),
}


def available(names: Iterable[str] = PEERS) -> dict[str, str | None]:
    """Name of each peer -> None where it can run here, else why it can't."""
    return {name: _reason(PEERS[name].module) for name in names}


def _reason(module: str) -> str | None:
    try:
        importlib.import_module(f"peers.{module}")
    except ImportError as error:
        return f"{error}; see benchmarks/README.md"
    return None
