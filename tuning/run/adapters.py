"""Thin adapters that fit search and early stopping to Ray Tune's own interfaces."""

from __future__ import annotations

from typing import Any

from ray.tune.experiment import Trial as TuneTrial
from ray.tune.result import SHOULD_CHECKPOINT
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from toprung.tuning.records import Action, Decision, TrialState
from toprung.tuning.run.agenda import Agenda
from toprung.tuning.run.comeback import Comeback
from toprung.tuning.run.interventions import Interventions
from toprung.tuning.run.ladder import Ladder
from toprung.tuning.run.ledger import Ledger
from toprung.tuning.run.metrics import objective_failure, scalar
from toprung.tuning.run.places import let_idle_workers_go, move, step_back, waits_for_a_place
from toprung.tuning.run.trainable import IDENTITY, can_go_on_later
from toprung.tuning.run.verdict import Verdict, target_reached, verdict_of
from toprung.tuning.schedule import Scheduler
from toprung.tuning.search import Search


def number_of(trial: TuneTrial) -> int:
    """The number of a Tune trial inside its sweep."""
    return int(trial.config[IDENTITY]["number"])


class SweepSearcher(Searcher):  # type: ignore[misc]
    """Asks `Search` for the next configuration when the sweep may run another trial.

    Args:
        comeback: trials of an earlier runner, which come first.
    """

    def __init__(
        self,
        ledger: Ledger,
        search: Search,
        rule: Scheduler,
        comeback: Comeback,
        ladder: Ladder,
    ) -> None:
        metric = ledger.spec.metric
        super().__init__(metric=metric.name, mode="min" if metric.goal == "minimize" else "max")
        self._ended = False
        self._ledger = ledger
        self._search = search
        self._rule = rule
        self._comeback = comeback
        self.ladder = ladder

    @property
    def _agenda(self) -> Agenda:
        # not kept: Tune pickles the searcher, and only the ledger knows how
        return self._ledger.agenda

    @property
    def exhausted(self) -> bool:
        """Whether no new trial will come, as far as is known."""
        agenda = self._agenda
        none_left = self._ended or agenda.proposals_left(self._ledger.num_trials) == 0
        return agenda.closed or (none_left and agenda.next_request() is None)

    @property
    def num_with_tune(self) -> int:
        """Live trials that Tune has; not those that it may keep for long, as others have what they wait for."""
        return self._ledger.num_live - self._comeback.num_live - len(self.ladder.stranded)

    @property
    def has_place(self) -> bool:
        """Whether the sweep may run one more trial at the moment."""
        return self.num_with_tune + self.ladder.more_places < self._agenda.orders.share

    def suggest(self, trial_id: str) -> Any:
        ledger, revision = self._ledger, self._agenda.orders.revision
        if ledger.ending:
            return Searcher.FINISHED
        if self._comeback:
            wanted = self._comeback.num_paused or self.has_place
            return self._config(self._comeback.next()) if wanted else None
        if self.exhausted:
            # told so, Tune never asks again: not before there is nothing else to wait for
            if ledger.num_live or ledger.displaced or self._rule.waiting():
                return None
            self._agenda.close(revision)
            return Searcher.FINISHED
        if not ledger.num_live:
            ledger.check_budget()  # with a share of 0 Tune may ask nobody else
        # trials that have begun come before new ones
        if not self.has_place or ledger.displaced or self.ladder.holds_back() or self._rule.next_up() is not None:
            return None
        return self._begin(ledger.num_trials)

    def _begin(self, number: int) -> Any:
        request = self._agenda.next_request()
        if request is not None:
            params = self._search.complete(number, request.params)
        elif (proposal := self._search.ask(number)) is not None:
            params = proposal
        else:
            self._ended = True
            return None
        config = self._ledger.spec.space.config(params)
        self._ledger.open(number, params, config, self._rule.bracket(number), request)
        return self._config(number)

    def _config(self, number: int) -> dict[str, Any]:
        trial = self._ledger[number]
        config = self._ledger.spec.space.config(trial.params)
        origin = trial
        while origin.retry_of is not None:
            origin = self._ledger[origin.retry_of]
        identity = {
            "number": number,
            "attempt": trial.attempt + 1,
            "origin": origin.number,
            "gpu": self._ledger.resources(number).gpu,
            "fits": self._ledger.fits.known(),
        }
        return {**config, IDENTITY: identity}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Nothing: the recorder tells the search, it knows how the trial ended."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the store is the truth, not Tune's experiment state."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing, see `save`."""


class SweepScheduler(FIFOScheduler):  # type: ignore[misc]
    """Pauses or stops a trial as the sweep's rule decides; stops one that reached `max_t`, or that can't be compared.

    Args:
        pausable: whether trials can be resumed; None: if they report checkpoints.
        comeback: trials of an earlier runner, which bring their checkpoints.

    Attributes:
        verdicts: by trial number, how a trial that was stopped here ends.
        interventions: what ends trials from outside.
    """

    def __init__(
        self,
        ledger: Ledger,
        search: Search,
        rule: Scheduler,
        searcher: SweepSearcher,
        pausable: bool | None,
        comeback: Comeback,
    ) -> None:
        super().__init__()
        self._comeback = comeback
        self._ledger = ledger
        self._search = search
        self._rule = rule
        self._searcher = searcher
        self._pausable = pausable
        self._trials: dict[int, TuneTrial] = {}
        self.verdicts: dict[int, Verdict] = {}
        self.interventions = Interventions(ledger, searcher.ladder, self._trials, self.verdicts)

    def on_trial_add(self, tune_controller: Any, trial: TuneTrial) -> None:
        number = number_of(trial)
        self._trials[number] = trial
        move(tune_controller._tune_controller, trial, self._ledger.resources(number), self.interventions.avoided)
        self._comeback.enter(number, trial)

    def on_trial_remove(self, tune_controller: Any, trial: TuneTrial) -> None:
        self._forget(trial)

    def on_trial_complete(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> None:
        self._forget(trial)

    def on_trial_error(self, tune_controller: Any, trial: TuneTrial) -> None:
        self._forget(trial)

    def on_trial_result(self, tune_controller: Any, trial: TuneTrial, result: dict[str, Any]) -> str:
        number, spec = number_of(trial), self._ledger.spec
        step = int(result["training_iteration"])
        failure = objective_failure(spec.metric, step, result)
        if failure is not None:
            return self._stop(number, (TrialState.FAILED, None, failure))
        self.interventions.health.reported(number, step)
        value = float(scalar(result[spec.metric.name]))
        self._search.observe(number, step, value)
        if self._rule.mode == "promote":
            self._check_pausable(trial, result)
        record = self._ledger[number]
        decision = self._rule.decide(number, record.attempt, record.bracket, step, value)
        if decision is not None:
            self._ledger.decided(decision)
        if spec.metric.reached(value):
            self._ledger.stop(target_reached(spec, number, step))
        verdict = verdict_of(spec, self._rule, step, value, decision)
        if verdict is not None:
            return self._stop(number, verdict)
        if decision is not None and decision.action is Action.PAUSE:
            self.interventions.health.went_well(number)
            self._ledger.paused(number, self._rule.in_words(decision))
            return str(TrialScheduler.PAUSE)
        if self._makes_room(trial, result):
            self._ledger.made_room(number)
            return str(TrialScheduler.PAUSE)
        return str(TrialScheduler.CONTINUE)

    def _makes_room(self, trial: TuneTrial, result: dict[str, Any]) -> bool:
        """Whether another sweep is to have the trial's place: the youngest that saves a checkpoint now gives it up."""
        ledger = self._ledger
        saved = bool(result.get(SHOULD_CHECKPOINT)) if self._pausable is None else self._pausable
        if not ledger.agenda.orders.preempt or not saved:
            return False
        number = number_of(trial)
        older = (record.number for record in ledger if record.state is TrialState.RUNNING and record.number < number)
        return sum(map(self._searcher.ladder.places, older)) >= ledger.agenda.orders.share

    def choose_trial_to_run(self, tune_controller: Any) -> TuneTrial | None:
        """A paused trial whose turn it is. Pending ones need no choice: Tune starts them in their order."""
        controller = tune_controller._tune_controller
        self.interventions.carry_out(controller)
        self._queue_no_more_than_the_share(controller)
        chosen = self._choose(controller)
        if chosen is None:
            let_idle_workers_go(controller)
        return chosen

    def _queue_no_more_than_the_share(self, tune_controller: Any) -> None:
        """Trials that wait for a place beyond a share that has shrunk: the next free one is another sweep's."""
        ledger = self._ledger
        excess = self._searcher.num_with_tune - ledger.agenda.orders.share
        if excess <= 0:
            return
        patient = self._trials.keys() - self._searcher.ladder.stranded
        waiting = sorted(number for number in patient if waits_for_a_place(tune_controller, self._trials[number]))
        for number in waiting[-excess:]:
            ledger.made_room(number)
            step_back(tune_controller, self._trials[number])

    def _choose(self, tune_controller: Any) -> TuneTrial | None:
        ledger = self._ledger
        # who is promoted is chosen among all that are paused
        if self._comeback.num_paused or ledger.ending or not self._searcher.has_place:
            return None
        if ledger.displaced:
            return self._bring_back()
        if self._searcher.exhausted:
            self._rule.no_more_trials()
        number = self._rule.next_up()
        if number is not None:
            # one that was just told to pause still saves its checkpoint
            return self._resume(self._rule.promote()) if self._trials[number].status == TuneTrial.PAUSED else None
        if self._searcher.exhausted and self._ledger.num_live == 0:
            self._dismiss(tune_controller)
        return None

    def _dismiss(self, tune_controller: Any) -> None:
        """Nothing runs and nothing new comes: Tune would wait for the paused trials for ever."""
        if any(self._trials[number].status != TuneTrial.PAUSED for number in self._rule.waiting()):
            return
        for decision in self._rule.dismiss():
            self._ledger.decided(decision)
            self.verdicts[decision.number] = (TrialState.PRUNED, self._rule.in_words(decision), None)
            tune_controller.stop_trial(self._trials[decision.number])

    def _resume(self, decision: Decision | None) -> TuneTrial:
        assert decision is not None
        self._ledger.decided(decision)
        return self._next_attempt(decision.number)

    def _bring_back(self) -> TuneTrial | None:
        """The first of the trials that made room, once it has saved its checkpoint."""
        number = self._ledger.displaced[0]
        if number not in self._trials:  # it was ended meanwhile
            self._ledger.displaced.popleft()
            return None
        if self._trials[number].status != TuneTrial.PAUSED:
            return None
        return self._next_attempt(self._ledger.displaced.popleft())

    def _next_attempt(self, number: int) -> TuneTrial:
        self._ledger.resumed(number)
        trial = self._trials[number]
        trial.config[IDENTITY]["attempt"] = self._ledger[number].attempt + 1
        return trial

    def _check_pausable(self, trial: TuneTrial, result: dict[str, Any]) -> None:
        """Without a checkpoint a trial would begin anew: the sweep then stops trials instead."""
        step = int(result["training_iteration"])
        if not self._rule.is_rung(self._ledger[number_of(trial)].bracket, step):
            return
        if can_go_on_later(self._pausable, trial, result):
            return
        self._rule.give_up_pausing()
        self._ledger.warn(
            f"trials are stopped at rungs instead of paused (scheduler.mode: stop): trial {number_of(trial)} had "
            f"reported no checkpoint by step {step}, so it could not go on later. Report one with the result at each "
            "rung: tune.report(metrics, checkpoint=…)."
        )

    def _forget(self, trial: TuneTrial) -> None:
        number = number_of(trial)
        self._trials.pop(number, None)
        self._rule.leave(number)

    def _stop(self, number: int, verdict: Verdict) -> str:
        self.verdicts[number] = verdict
        return str(TrialScheduler.STOP)
