"""Proposing configurations: ask and tell.

`Search.ask` gives the configuration of a trial, `observe` tells what it reached at a step, `tell` how it ended. What a
trial reached at a low rung is never taken for a final value: the history keeps each score at its own fidelity (Ray
Tune's OptunaSearch doesn't, and its model then does worse than random search).

A proposal is a function of the spec, the seed, the trial's number and the history: the same history gives the same one.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from toprung.tuning.records import TrialState
from toprung.tuning.search import tpe
from toprung.tuning.search.cube import Array, Cube, Params
from toprung.tuning.search.history import History
from toprung.tuning.search.sobol import Sobol
from toprung.tuning.spec import Goal, SearchSpace
from toprung.tuning.spec import Search as SearchSpec

if TYPE_CHECKING:
    from toprung.tuning.search.optuna_models import Model

RANDOM_FRAC = 0.15
"""Of the proposals of a model that are drawn at random: what keeps it from being sure too early (BOHB's ρ)."""
NUM_STARTUP = 10
"""Trials drawn at random before a model is asked."""
_MODEL_TRIES = 3
_TRIES = 100
"""Candidates that may all break a relation before one is drawn from the space itself."""


class Search:
    """The proposals of one sweep. Trials are known by their number. Not thread-safe: one runner asks and tells.

    Args:
        space: what is varied.
        goal: of the objective.
        config: the algorithm; a seed of None is taken for 0, so give it one that differs from sweep to sweep.
        levels: the steps at which trials are compared, rising; the last is that of a full training. Empty: trials are
            compared when they are over.
    """

    def __init__(self, space: SearchSpace, goal: Goal, config: SearchSpec, levels: Sequence[int] = ()) -> None:
        self._space = space
        self._sign = 1.0 if goal == "minimize" else -1.0
        self._algorithm = config.algorithm
        self._seed = config.seed or 0
        self._cube = Cube(space)
        self._history = History(levels)
        self._points: dict[int, Array] = {}
        self._size = space.size()
        self._tried: set[tuple[tuple[str, object], ...]] = set()
        self._grid: Iterator[Params] | None = None
        self._sobol = Sobol(self._cube.dim, self._seed) if config.algorithm == "qmc" else None
        self._model: Model | None = None
        if config.algorithm in ("gp", "cmaes"):
            from toprung.tuning.search.optuna_models import model_of  # noqa: PLC0415  Optuna takes a second to load

            self._model = model_of(config.algorithm, self._cube, self._seed)

    def ask(self, number: int) -> Params | None:
        """The configuration of trial `number`; None when a finite space has no more."""
        if self._size is not None and len(self._tried) >= self._size:
            return None
        params = self._propose(number)
        if params is not None:
            self.add(number, params)
        return params

    def add(self, number: int, params: Params) -> None:
        """Takes note of a trial whose configuration was chosen elsewhere, or before a restart."""
        self._points[number] = self._cube.encode(params)
        self._history.open(number)
        if self._size is not None:
            self._tried.add(_key(params))

    def observe(self, number: int, step: int, value: float) -> None:
        """Takes note of what a running trial reached at a step. The value must be finite."""
        if number in self._points:
            self._history.observe(number, step, self._sign * value)

    def tell(self, number: int, state: TrialState) -> None:
        """Takes note of how a trial ended. `failed` means that its configuration can't be trained."""
        if number not in self._points:
            return
        if state is TrialState.COMPLETED:
            self._history.complete(number)
        elif state is TrialState.FAILED:
            self._history.fail(number)
        else:
            self._history.forget(number)

    def __getstate__(self) -> dict[str, object]:
        """The walk over a grid can't be pickled; it begins anew and passes over what was tried."""
        return {**vars(self), "_grid": None}

    def _propose(self, number: int) -> Params | None:
        if self._algorithm == "grid":
            self._grid = self._grid or self._space.grid()
            return next((params for params in self._grid if _key(params) not in self._tried), None)
        rng = np.random.default_rng([self._seed, number])
        for point in itertools.islice(self._candidates(number, rng), _TRIES):
            params = self._cube.decode(point)
            if self._fits(params):
                return params
        return self._any(random.Random(f"{self._seed}:{number}"))

    def _candidates(self, number: int, rng: np.random.Generator) -> Iterator[Array]:
        """Points (d,) without end, those that the algorithm likes best first."""
        if self._sobol is not None:
            yield from (point for points in self._sobol.candidates(number) for point in points)
        # as many as there are parameters, and a few: below that there is nothing to tell apart (BOHB's rule)
        level = self._history.highest(self._cube.dim + 3)
        at_random = self._algorithm == "random" or number < NUM_STARTUP or rng.random() < RANDOM_FRAC
        if at_random or level is None:
            while True:
                yield self._cube.uniform(rng, 1)[0]
        if self._model is not None:
            for _ in range(_MODEL_TRIES):
                yield from self._model.propose(self._history, level, self._points, rng)
        # what Optuna's models propose may break a relation again and again, and each of their tries is slow
        while True:
            yield from tpe.propose(self._history, level, self._points, self._cube, rng)

    def _fits(self, params: Params) -> bool:
        return self._space.satisfied(params) and (self._size is None or _key(params) not in self._tried)

    def _any(self, rng: random.Random) -> Params:
        """Where the algorithm found nothing that fits."""
        for _ in range(_TRIES):
            params = self._space.sample(rng)
            if self._fits(params):
                return params
        # nearly all of a finite space was tried: look for what is left
        return rng.choice([params for params in self._space.grid() if self._fits(params)])


def _key(params: Params) -> tuple[tuple[str, object], ...]:
    # rounded: the grid and the cube come to the same value of a float with a step by different ways
    return tuple((name, float(f"{v:.9g}") if isinstance(v, float) else v) for name, v in sorted(params.items()))
