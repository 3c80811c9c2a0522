"""Toprung's search as a searcher of Ray Tune."""

from __future__ import annotations

import bisect
import random
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ray import cloudpickle
from ray.tune.result import TRAINING_ITERATION
from ray.tune.search import Searcher

from toprung.errors import Problem
from toprung.tuning.records import TrialState
from toprung.tuning.search import Params, Search
from toprung.tuning.spec import Goal
from toprung.tuning.spec.parts import pointer
from toprung.tuning.spec.space import finite
from toprung.tuning.tune.arguments import checked, invalid, objective
from toprung.tuning.tune.spaces import Space, SpecSpace, TuneSpace, has_domains

if TYPE_CHECKING:
    from toprung.tuning.tune.scheduler import ToprungScheduler


class ToprungSearch(Searcher):  # type: ignore[misc]
    """Proposes configurations, going by what trials reached at each rung; scores of different rungs are never mixed.

        tune.TuneConfig(metric="loss", mode="min", num_samples=100,
                        search_alg=ToprungSearch(), scheduler=ToprungScheduler(max_t=81))

    Beside a `ToprungScheduler` it learns of the rungs by itself. Beside another scheduler that stops trials early say
    where that one compares (`rungs`); without rungs trials are compared when they are over.

    A finite space gives each configuration once: the experiment may end before `num_samples`.

    Args:
        space: what is varied. None: the Tuner's `param_space`. A mapping with domains of Ray Tune, or the `parameters`
            of a Toprung spec, with conditions. Then also give `metric` and `mode` here if the Tuner has no param_space,
            because Tune hands them on only with it.
        algorithm: auto, tpe, gp, random, qmc, cmaes or grid.
        seed: the same seed and history give the same proposals; None: another each time.
        metric: the objective, if not in TuneConfig.
        mode: min or max, if not in TuneConfig.
        constraints: relations between the parameters of a Toprung space, such as "l2 <= l1".
        points_to_evaluate: whole configurations that come first.
        rungs: the steps at which another scheduler compares trials, rising; the last is that of a full training.
        time_attr: what counts steps in the results; a ToprungScheduler's replaces it.

    Raises:
        InvalidSpec: arguments or the space have problems; the message lists all of them.
    """

    def __init__(
        self,
        space: Mapping[str, Any] | None = None,
        *,
        algorithm: str = "auto",
        seed: int | None = None,
        metric: str | None = None,
        mode: str | None = None,
        constraints: Sequence[str] = (),
        points_to_evaluate: Sequence[Mapping[str, Any]] | None = None,
        rungs: Sequence[int] = (),
        time_attr: str = TRAINING_ITERATION,
    ) -> None:
        super().__init__(metric=metric, mode=mode)
        self._config = checked(_NAME, search={"algorithm": algorithm, "seed": seed}).search
        if self._config.seed is None:
            self._config = self._config.model_copy(update={"seed": random.SystemRandom().getrandbits(32)})
        self._points = list(points_to_evaluate or ())
        self._rungs = tuple(sorted(rungs))
        self._time_attr = time_attr
        self._scheduler: ToprungScheduler | None = None
        self._space: Space | None = None
        self._search: Search | None = None
        self._proposals: list[Params] = []
        self._numbers: dict[str, int] = {}
        self._reached: dict[int, int] = {}
        """The highest rung with a finite value, 0 below the lowest; by number."""
        if space is not None and has_domains(space):
            self._set_space(TuneSpace(_NAME, space), constraints)
        elif space is not None:
            self._set_space(SpecSpace.of(_NAME, space, constraints))
        elif constraints:
            self._refuse_constraints()

    def set_search_properties(self, metric: str | None, mode: str | None, config: dict[str, Any], **spec: Any) -> bool:
        """What Tune hands over from TuneConfig and the Tuner's `param_space`."""
        self._metric: str | None = metric or self._metric
        self._mode: str | None = mode or self._mode
        if self._space is not None:
            return not has_domains(config)
        self._set_space(TuneSpace(_NAME, config))
        return True

    def follow(self, scheduler: ToprungScheduler) -> None:
        """Compares trials where a scheduler does, and proposes none while a paused one may go on."""
        self._scheduler, self._time_attr = scheduler, scheduler.time_attr
        if scheduler.rungs != self._rungs:
            self._rungs = scheduler.rungs
            self._search = None

    def suggest(self, trial_id: str) -> Any:
        """The config of a new trial, None while none should start, or `FINISHED` when a finite space has no more."""
        if self._scheduler is not None and self._scheduler.has_promotable:
            return None
        number = len(self._proposals)
        params = self._proposal(number)
        if params is None:
            return Searcher.FINISHED
        self._proposals.append(params)
        self._numbers[trial_id] = number
        assert self._space is not None
        return self._space.config(params)

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Takes note of what a trial has reached."""
        if trial_id in self._numbers:
            self._observe(self._numbers[trial_id], result)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Takes note of how a trial ended.

        Tune doesn't say whether a scheduler stopped it. One that ends with the result that brought it to a rung was
        stopped there: a trial that returns by itself has been told to go on after its last result.
        """
        number = self._numbers.get(trial_id)
        if number is None:
            return
        search = self._ready()
        if error:
            search.tell(number, TrialState.FAILED)
        elif not result:  # it was paused
            search.tell(number, TrialState.PRUNED)
        else:
            search.tell(number, self._observe(number, result))

    def save(self, checkpoint_path: str) -> None:
        """Writes all it knows to a file. Tune calls it with each snapshot of the experiment."""
        with open(checkpoint_path, "wb") as file:
            cloudpickle.dump(self.__getstate__(), file)

    def restore(self, checkpoint_path: str) -> None:
        """Goes on exactly where `save` was called."""
        with open(checkpoint_path, "rb") as file:
            self.__dict__.update(cloudpickle.load(file))

    def __getstate__(self) -> dict[str, Any]:
        # the scheduler comes back by itself
        return {**vars(self), "_scheduler": None}

    def _set_space(self, space: Space, constraints: Sequence[str] = ()) -> None:
        if constraints:
            self._refuse_constraints()
        if self._config.algorithm == "grid":
            endless = [p.name for p in space.space.parameters if not finite(p.distribution)]
            if endless:
                message = "a grid needs finitely many values: use tune.choice, or a domain with q"
                raise invalid(_NAME, [Problem(pointer("space", name), "not_finite", message) for name in endless])
        problems = []
        for index, point in enumerate(self._points):
            try:
                space.params(point)
            except ValueError as error:
                problems.append(Problem(pointer("points_to_evaluate", index), "invalid_value", str(error)))
        if problems:
            raise invalid(_NAME, problems)
        self._space = space

    def _refuse_constraints(self) -> None:
        message = "relations need the space in Toprung's form: ToprungSearch({'l1': {'type': 'int', …}}, constraints=…)"
        raise invalid(_NAME, [Problem("/constraints", "bad_relation", message)])

    def _ready(self) -> Search:
        if self._search is not None:
            return self._search
        if self._space is None:
            raise ValueError(f"{_NAME} has no space: give the Tuner a param_space, or {_NAME} a space")
        if not isinstance(self._metric, str) or self._mode not in ("min", "max"):
            raise ValueError(
                f"{_NAME} needs one metric and a mode, min or max; it has {self._metric!r} and {self._mode!r}. Give "
                f"them to TuneConfig, and to {_NAME} too where the Tuner has no param_space"
            )
        goal: Goal = "minimize" if self._mode == "min" else "maximize"
        self._search = Search(self._space.space, goal, self._config, self._rungs)
        for number, params in enumerate(self._proposals):
            self._search.add(number, params)
        return self._search

    def _proposal(self, number: int) -> Params | None:
        search = self._ready()
        if number >= len(self._points):
            return search.ask(number)
        assert self._space is not None
        params = self._space.params(self._points[number])
        search.add(number, params)
        return params

    def _observe(self, number: int, result: Mapping[str, Any]) -> TrialState:
        """Takes note of a result; returns how the trial ended if this is its last."""
        value = objective(result, str(self._metric))
        index = bisect.bisect_right(self._rungs, result.get(self._time_attr, 0))
        rung = self._rungs[index - 1] if index else 0
        before = self._reached.get(number)
        new_rung = rung > (before or 0)
        if value is None:
            return TrialState.FAILED if new_rung or before is None else TrialState.COMPLETED
        # reports may skip the rung itself: the first at or after it counts
        self._ready().observe(number, rung, value)
        self._reached[number] = rung
        return TrialState.PRUNED if new_rung and rung < self._rungs[-1] else TrialState.COMPLETED


_NAME = ToprungSearch.__name__
