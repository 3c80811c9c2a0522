"""DEHB: differential evolution and Hyperband, by its ask and tell.

DEHB asks for a configuration at a fidelity. Most are new mutants; those that its first brackets promote are trained
again from the start, since 0.1.2 has no way to say that a trial goes on.
"""

from __future__ import annotations

from tempfile import TemporaryDirectory
from typing import Any

from dehb import DEHB

from peers.configuration_space import configuration_space, params_of
from toprung.tuning.records import Action
from toprung.tuning.spec import SearchSpace


class Dehb:
    """DEHB with its defaults; fidelities are rounded to whole steps."""

    def __init__(self, space: SearchSpace, max_t: int, grace: int, eta: int, seed: int) -> None:
        self._folder = TemporaryDirectory()  # DEHB always writes a log
        self._dehb = DEHB(
            cs=configuration_space(space, seed),
            min_fidelity=grace,
            max_fidelity=max_t,
            eta=eta,
            seed=seed,
            n_workers=1,  # more would start a Dask cluster, which ask and tell don't use
            save_freq="end",
            log_level="ERROR",
            output_path=self._folder.name,
        )
        self._jobs: dict[int, dict[str, Any]] = {}

    def next_trial(self, number: int) -> tuple[int, dict[str, Any]]:
        job = self._jobs[number] = self._dehb.ask()
        return number, params_of(job["config"])

    def report(self, number: int, step: int, value: float, last: bool) -> Action:
        if step < round(self._jobs[number]["fidelity"]):
            return Action.PROMOTE
        self._dehb.tell(self._jobs.pop(number), {"fitness": value, "cost": step})
        return Action.STOP
