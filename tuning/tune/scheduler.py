"""Toprung's early stopping as a scheduler of Ray Tune."""

from __future__ import annotations

import logging
from typing import Any

from ray import cloudpickle
from ray.tune.experiment import Trial
from ray.tune.result import TRAINING_ITERATION
from ray.tune.schedulers import TrialScheduler

from toprung.tuning.plan import bracket_rungs, compared_at
from toprung.tuning.records import Action, Decision
from toprung.tuning.run.trainable import can_be_resumed, can_go_on_later
from toprung.tuning.schedule import Asha, in_words
from toprung.tuning.tune.arguments import asha_config, objective
from toprung.tuning.tune.controller import Limit, algorithms, exchange, stop_paused
from toprung.tuning.tune.searcher import ToprungSearch

logger = logging.getLogger(__name__)


class ToprungScheduler(TrialScheduler):  # type: ignore[misc]
    """Asynchronous successive halving: at each rung only the best 1/η of the trials go on.

    The rungs are at `grace_period` · η^k steps below `max_t`. With `mode="stop"` a trial that isn't among the best when
    it arrives is stopped. With `mode="promote"` trials pause at a rung, which frees their resources, and the best go on
    from their checkpoints; a rung promotes at most ⌊n/η⌋ of its n trials.

    The metric and whether it is minimised come from TuneConfig.

    Args:
        max_t: steps of a full training; who reaches it is finished.
        grace_period: steps that every trial gets; the lowest rung.
        reduction_factor: η, a whole number.
        brackets: trials are split over this many ladders, each of which starts η times later than the one before.
        mode: stop or promote. Without checkpoints promote turns into stop, with a warning.
        time_attr: what counts steps in the results. Where results skip a rung, the first after it counts.

    Raises:
        InvalidSpec: arguments have problems; the message lists all of them.
    """

    # a trial that is told to pause must not have gone on in the same batch of results
    _supports_buffered_results = False

    def __init__(
        self,
        *,
        max_t: int,
        grace_period: int = 1,
        reduction_factor: int = 3,
        brackets: int = 1,
        mode: str = "stop",
        time_attr: str = TRAINING_ITERATION,
    ) -> None:
        super().__init__()
        self._config = asha_config(
            _NAME,
            max_t=max_t,
            grace_period=grace_period,
            reduction_factor=reduction_factor,
            brackets=brackets,
            mode=mode,
        )
        self.time_attr = time_attr
        self._asha: Asha | None = None
        self._numbers: dict[str, int] = {}
        self._reached: dict[int, int] = {}
        """The highest rung at which a trial was compared."""
        self._paused: set[int] = set()
        """Trials that wait at a rung, or were just told to."""
        self._promoted: int | None = None
        """A trial that waits for the resources to go on with."""
        self._exhausted = False
        self._idle = False
        self._most: int | None = None
        """Trials at once, where the user set a limit."""
        self._forget_objects()

    def _forget_objects(self) -> None:
        self._trials: dict[int, Trial] = {}
        self._limit: Limit | None = None
        self._lost: set[int] = set()
        """Paused ones that were lost before they had saved: they run again from an older checkpoint."""
        self._restored: set[int] = set()

    @property
    def rungs(self) -> tuple[int, ...]:
        """The steps at which trials are compared, rising, the last is `max_t`."""
        return compared_at(self._config)

    @property
    def has_promotable(self) -> bool:
        """Whether a paused trial may go on: it comes before a new one."""
        self._advance()
        return self._promoted is not None or self._next() is not None

    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        """What Tune hands over from TuneConfig.

        Raises:
            ValueError: metric or mode are missing there.
        """
        if metric is None or mode is None:
            raise ValueError(f"{_NAME} needs a metric and min or max: give both to TuneConfig(metric=…, mode=…)")
        if self._asha is not None:
            raise ValueError(f"this {_NAME} has run an experiment already: make a new one for each Tuner")
        self._metric = metric
        self._asha = Asha(self._config, "minimize" if mode == "min" else "maximize", seed=None)
        return True

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Takes note of a trial that is new, was restored, or is tried again."""
        self._attach(tune_controller)
        number = self._numbers.setdefault(trial.trial_id, len(self._numbers))
        if trial.is_finished():
            return
        self._trials[number] = trial
        if number in self._restored:
            self._restored.discard(number)
            # Tune makes what was paused pending and hasn't queued it yet
            trial.set_status(Trial.PAUSED)
        elif number in self._paused:
            self._lost.add(number)

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """A trial that didn't run is over."""
        self._leave(trial)

    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> None:
        """A trial that ran is over."""
        self._leave(trial)

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """A trial failed; if it is tried again, it is added again."""
        self._trials.pop(self._numbers[trial.trial_id], None)

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Whether a trial goes on, pauses or stops."""
        if self.time_attr not in result or self._metric not in result:
            return str(TrialScheduler.CONTINUE)
        number, step = self._numbers[trial.trial_id], result[self.time_attr]
        if step >= self._config.max_t:
            return str(TrialScheduler.STOP)
        asha = self._core
        bracket = asha.bracket(number)
        rung = max((r for r in bracket_rungs(self._config, bracket)[:-1] if r <= step), default=0)
        if rung <= self._reached.get(number, 0):
            return self._again(number)
        value = objective(result, self._metric)
        if value is None:
            logger.warning("%s stopped at rung %s: %s was %s", trial, rung, self._metric, result[self._metric])
            return str(TrialScheduler.STOP)
        self._reached[number] = rung
        saves = can_be_resumed(trial.get_trainable_cls())
        if asha.mode == "promote" and not can_go_on_later(saves, trial, result):
            self._give_up_pausing(trial, rung)
        decision = asha.decide(number, 1, bracket, rung, value)
        assert decision is not None
        self._note(decision)
        if decision.action is Action.PAUSE:
            self._paused.add(number)
            return str(TrialScheduler.PAUSE)
        return str(TrialScheduler.CONTINUE if decision.action is Action.PROMOTE else TrialScheduler.STOP)

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """A paused trial whose turn it is. Pending ones need no choice: Tune starts them in their order."""
        self._advance()
        if not self._exhausted and tune_controller.search_alg.is_finished() and not self._any(Trial.PENDING):
            self._exhausted = True
            self._core.no_more_trials()
            self._advance()
        if self._promoted is not None:
            return self._trials[self._promoted]
        idle = bool(self._paused) and not self._any(Trial.PENDING, Trial.RUNNING)
        if idle and (self._exhausted or self._idle):
            self._dismiss(tune_controller)
        self._idle = idle  # a limit that was just raised: Tune asks the searcher once more before this comes again
        return None

    def debug_string(self) -> str:
        """A line for Tune's progress reports."""
        return f"{_NAME}: rungs {self.rungs}, mode {self._core.mode}, {len(self._paused)} paused"

    def save(self, checkpoint_path: str) -> None:
        """Writes all that was decided to a file."""
        with open(checkpoint_path, "wb") as file:
            cloudpickle.dump(self.__getstate__(), file)

    def restore(self, checkpoint_path: str) -> None:
        """Goes on where `save` was called; trials have to be added again."""
        with open(checkpoint_path, "rb") as file:
            self.__setstate__(cloudpickle.load(file))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in _OBJECTS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget_objects()
        self._restored = set(self._paused)

    @property
    def _core(self) -> Asha:
        assert self._asha is not None, "Tune calls set_search_properties first"
        return self._asha

    def _attach(self, tune_controller: Any) -> None:
        """Finds what belongs to the experiment: the saved state, a searcher of ours, a limit of concurrent trials."""
        saved = exchange(tune_controller, self)
        if saved is self:
            return
        if saved is not None:
            self.__setstate__(saved.__getstate__())
        self._limit = Limit.among(algorithms(tune_controller), None if saved is None else self._most)
        self._most = None if self._limit is None else self._limit.most
        for algorithm in algorithms(tune_controller):
            if isinstance(algorithm, ToprungSearch):
                algorithm.follow(self)

    def _next(self) -> int | None:
        """The number of the paused trial that comes next."""
        while (number := self._core.next_up()) is not None and number not in self._trials:
            self._core.leave(number)  # it failed for good
            self._paused.discard(number)
        return number

    def _advance(self) -> None:
        """Promotes the trial that comes next, unless another one still waits for resources or the limit is reached."""
        if self._promoted is not None:
            promoted = self._trials.get(self._promoted)
            if promoted is None or promoted.status == Trial.RUNNING:
                self._promoted = None
        while self._promoted is None and self._has_place() and (number := self._next()) is not None:
            if number not in self._lost and self._trials[number].status != Trial.PAUSED:
                break  # it was just told to pause and still saves its checkpoint
            decision = self._core.promote()
            assert decision is not None
            self._note(decision)
            self._paused.discard(number)
            if number in self._lost:  # it runs already
                self._lost.discard(number)
            else:
                self._promoted = number
        if self._limit is not None:
            self._limit.set_paused(self._num_paused())

    def _has_place(self) -> bool:
        return self._limit is None or len(self._trials) - self._num_paused() < self._limit.most

    def _num_paused(self) -> int:
        """One that still saves its checkpoint isn't counted: it may be lost, and keeps its place then."""
        return sum(n in self._trials and self._trials[n].status == Trial.PAUSED for n in self._paused)

    def _any(self, *statuses: str) -> bool:
        return any(trial.status in statuses for number, trial in self._trials.items() if number != self._promoted)

    def _again(self, number: int) -> str:
        """What becomes of a trial that reports from a rung, or from behind it, where it was compared before."""
        if number not in self._paused:
            return str(TrialScheduler.CONTINUE)
        self._lost.discard(number)
        return str(TrialScheduler.PAUSE)

    def _dismiss(self, tune_controller: Any) -> None:
        """Nothing runs and nothing new comes: Tune would wait for the paused trials for ever."""
        if not tune_controller.search_alg.is_finished():
            logger.warning("paused trials are stopped: the searcher proposes no more before they are over")
        for decision in self._core.dismiss():
            self._note(decision)
            self._paused.discard(decision.number)
            if decision.number in self._trials:
                stop_paused(tune_controller, self._trials[decision.number])

    def _leave(self, trial: Trial) -> None:
        number = self._numbers[trial.trial_id]
        self._trials.pop(number, None)
        self._paused.discard(number)
        self._core.leave(number)
        self._advance()

    def _give_up_pausing(self, trial: Trial, rung: int) -> None:
        self._core.give_up_pausing()
        logger.warning(
            "trials are stopped at rungs instead of paused: %s had reported no checkpoint by rung %s, so it could not "
            "go on later. Report one with the result at each rung, tune.report(metrics, checkpoint=…), or implement "
            "save_checkpoint; or choose %s(mode='stop').",
            trial,
            rung,
            _NAME,
        )

    def _note(self, decision: Decision) -> None:
        logger.info("trial %s %s", self._trials.get(decision.number, decision.number), in_words(decision))


_NAME = ToprungScheduler.__name__
_OBJECTS = frozenset({"_trials", "_limit", "_lost", "_restored"})
