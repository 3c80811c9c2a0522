"""Proposing configurations: ask and tell.

`Search.ask` gives the configuration of a trial, `observe` tells what it reached at a step, `tell` how it ended. What a
trial reached at a low rung is never taken for a final value: the history keeps each score at its own fidelity (Ray
Tune's OptunaSearch doesn't, and its model then does worse than random search).

A proposal is a function of the spec, the seed, the trial's number and the history: the same history gives the same one.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping, Sequence
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
    from toprung.tuning.search.cmaes import CmaEs
    from toprung.tuning.search.gp import GaussianProcess

RANDOM_FRAC = 0.15
"""Of the proposals of a model that are drawn at random: what keeps it from being sure too early (BOHB's ρ)."""
NUM_STARTUP = 10
"""Trials drawn at random before a model is asked."""
MODEL_FRAC = {"auto": 0.5, "gp": 1.0, "cmaes": 1.0}
"""Of the proposals that aren't random, those by a model other than TPE. The Gaussian process homes in on one basin, TPE
keeps looking elsewhere: over the problems of benchmarks/ both together were better than either."""
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
        self._known: set[tuple[tuple[str, object], ...]] = set()
        self._num_learned = 0
        self._to_try = {_key(point): point for point in map(space.given, config.points)}
        self._grid: Iterator[Params] | None = None
        self._sobol = Sobol(self._cube.dim, self._seed) if config.algorithm == "qmc" else None
        self._model = self._model_of(config.algorithm)

    def ask(self, number: int) -> Params | None:
        """The configuration of trial `number`; None when a finite space has no more. The spec's points come first."""
        params = self._next_point(number)
        if params is None and (self._size is None or len(self._tried) + len(self._known) < self._size):
            params = self._propose(number)
        if params is not None:
            self.add(number, params)
        return params

    def complete(self, number: int, given: Params) -> Params:
        """The configuration of trial `number`, which a user asked for: what is not `given` is drawn at random.

        It may have been tried before.

        Raises:
            InvalidSpec: no configuration with these values that meets the relations was found.
        """
        params = self._space.sample(random.Random(f"{self._seed}:{number}"), given)
        self.add(number, params)
        return params

    def add(self, number: int, params: Params) -> None:
        """Takes note of a trial whose configuration was chosen elsewhere, or before a restart."""
        self._points[number] = self._cube.encode(params)
        self._history.open(number)
        if self._size is not None:
            self._tried.add(_key(params))
            self._known.discard(_key(params))
        key = next((key for key, point in self._to_try.items() if _has(params, point)), None)
        if key is not None:
            del self._to_try[key]

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

    def learn(
        self, params: Params, values: Mapping[int, float], *, final: float | None = None, failed: bool = False
    ) -> None:
        """Takes note of a trial of an earlier sweep. It is none of this one's: it has no number here.

        In a finite space a configuration whose full training is known this way is not proposed; a point still is.

        Args:
            params: a configuration of the space.
            values: by step, the objective.
            final: the best value of its full training, if it had one.
            failed: its configuration can't be trained.
        """
        self._num_learned += 1
        number = -self._num_learned
        self._points[number] = self._cube.encode(params)
        for step, value in values.items():
            self._history.observe(number, step, self._sign * value)
        if final is not None:
            self._history.observe(number, 0, self._sign * final)
            self._history.complete(number)
        if failed:
            self._history.fail(number)
        standing, key = self._history.standing(number), _key(params)
        trained = standing is not None and standing[0] == self._history.levels[-1]
        if self._size is not None and trained and key not in self._to_try:
            self._known.add(key)

    @property
    def num_known(self) -> int:
        """Configurations of a finite space that are not proposed, as an earlier sweep has trained them."""
        return len(self._known)

    def __getstate__(self) -> dict[str, object]:
        """The walk over a grid can't be pickled; it begins anew and passes over what was tried."""
        return {**vars(self), "_grid": None}

    def _next_point(self, number: int) -> Params | None:
        """The first of the points that are left, what it leaves out drawn at random."""
        for key, point in [*self._to_try.items()]:
            params = self._any(random.Random(f"{self._seed}:{number}"), point)
            if params is not None:
                return params
            del self._to_try[key]  # all configurations that it stands for were tried
        return None

    def _propose(self, number: int) -> Params | None:
        if self._algorithm == "grid":
            self._grid = self._grid or self._space.grid()
            return next((params for params in self._grid if self._is_new(params)), None)
        rng = np.random.default_rng([self._seed, number])
        for point in itertools.islice(self._candidates(number, rng), _TRIES):
            params = self._cube.decode(point)
            if self._fits(params):
                return params
        return self._any(random.Random(f"{self._seed}:{number}"), {})

    def _candidates(self, number: int, rng: np.random.Generator) -> Iterator[Array]:
        """Points (d,) without end, those that the algorithm likes best first."""
        if self._sobol is not None:
            yield from (point for points in self._sobol.candidates(number) for point in points)
        # as many as there are parameters, and a few: below that there is nothing to tell apart (BOHB's rule)
        level = self._history.highest(self._cube.dim + 3)
        starting = number + self._num_learned < NUM_STARTUP
        at_random = self._algorithm == "random" or starting or rng.random() < RANDOM_FRAC
        if at_random or level is None:
            while True:
                yield self._cube.uniform(rng, 1)[0]
        if self._model is not None and rng.random() < MODEL_FRAC[self._algorithm]:
            for _ in range(_MODEL_TRIES):
                yield from self._model.propose(self._history, self._points, rng)
        # what a model proposes may break a relation again and again, and each try is slow
        while True:
            yield from tpe.propose(self._history, level, self._points, self._cube, rng)

    def _model_of(self, algorithm: str) -> GaussianProcess | CmaEs | None:
        # SciPy's optimisers and Optuna take a second to load, which sweeps without them shouldn't wait for
        if algorithm in ("auto", "gp"):
            from toprung.tuning.search.gp import GaussianProcess  # noqa: PLC0415

            return GaussianProcess(self._cube, len(self._history.levels))
        if algorithm == "cmaes":
            from toprung.tuning.search.cmaes import CmaEs  # noqa: PLC0415

            return CmaEs(self._cube, self._seed)
        return None

    def _fits(self, params: Params) -> bool:
        return self._space.satisfied(params) and self._is_new(params)

    def _is_new(self, params: Params) -> bool:
        if self._size is None:
            return True
        key = _key(params)
        return key not in self._tried and key not in self._known

    def _any(self, rng: random.Random, given: Params) -> Params | None:
        """One at random with the `given` values; None when all of them were tried."""
        for _ in range(_TRIES):
            params = self._space.sample(rng, given)
            if self._fits(params):
                return params
        # nearly all of a finite space was tried: look for what is left
        left = [params for params in self._space.grid() if _has(params, given) and self._fits(params)]
        return rng.choice(left) if left else None


def _key(params: Params) -> tuple[tuple[str, object], ...]:
    # rounded: the grid and the cube come to the same value of a float with a step by different ways
    return tuple((name, float(f"{v:.9g}") if isinstance(v, float) else v) for name, v in sorted(params.items()))


def _has(params: Params, given: Params) -> bool:
    return set(_key(given)) <= set(_key(params))
