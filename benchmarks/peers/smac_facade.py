"""SMAC3: random forests and Hyperband, by the ask and tell of its MultiFidelityFacade.

SMAC asks for a configuration at a budget, and for the same one at a higher budget when it is promoted: the trial then
goes on from where it paused, as a target function can do that keeps a checkpoint for each configuration.
"""

from __future__ import annotations

import logging
from tempfile import TemporaryDirectory
from typing import Any

from smac import MultiFidelityFacade, Scenario
from smac.intensifier.hyperband_utils import get_n_trials_for_hyperband_multifidelity
from smac.runhistory import TrialInfo, TrialValue

from peers import FULL_TRAININGS
from peers.configuration_space import configuration_space, params_of
from toprung.tuning.records import Action
from toprung.tuning.spec import SearchSpace


class Smac:
    """The multi-fidelity facade with its defaults; budgets are rounded to whole steps."""

    def __init__(self, space: SearchSpace, max_t: int, grace: int, eta: int, seed: int) -> None:
        self._folder = TemporaryDirectory()  # SMAC always writes its run
        scenario = Scenario(
            configuration_space(space, seed),
            output_directory=self._folder.name,
            deterministic=True,
            n_trials=_num_trials(max_t, grace, eta),
            min_budget=grace,
            max_budget=max_t,
            seed=seed,
        )
        self._facade = MultiFidelityFacade(
            scenario,
            intensifier=MultiFidelityFacade.get_intensifier(scenario, eta=eta),
            logging_level=logging.ERROR,
        )
        self._numbers: dict[Any, int] = {}
        self._jobs: dict[int, TrialInfo] = {}

    def next_trial(self, number: int) -> tuple[int, dict[str, Any] | None]:
        job = self._facade.ask()
        known = self._numbers.get(job.config)
        if known is not None:
            self._jobs[known] = job
            return known, None
        self._numbers[job.config], self._jobs[number] = number, job
        return number, params_of(job.config)

    def report(self, number: int, step: int, value: float, last: bool) -> Action:
        if step < round(self._jobs[number].budget):
            return Action.PROMOTE
        self._facade.tell(self._jobs.pop(number), TrialValue(cost=value), save=False)
        return Action.STOP if last else Action.PAUSE


def _num_trials(max_t: int, grace: int, eta: int) -> int:
    """What SMAC makes of the sweep's budget: a quarter of it at most is drawn at random before the model is asked."""
    return get_n_trials_for_hyperband_multifidelity(FULL_TRAININGS * max_t, grace, max_t, eta, print_summary=False)
