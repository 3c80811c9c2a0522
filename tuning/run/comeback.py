"""A sweep that is taken up again: its last runner died, or the machine did."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ray.tune.experiment import Trial as TuneTrial

from toprung.tuning.past import Past, Reported
from toprung.tuning.records import CheckpointRef, TrialState
from toprung.tuning.run.checkpoints import Checkpoints
from toprung.tuning.run.ledger import Ledger
from toprung.tuning.run.room import once_there_is_room
from toprung.tuning.run.verdict import Verdict, target_reached, verdict_of
from toprung.tuning.schedule import Scheduler


class Comeback:
    """The trials that the last runner left unfinished, on their way into a new Tuner."""

    def __init__(self, past: Past, ledger: Ledger, checkpoints: Checkpoints) -> None:
        self._past = past
        self._ledger = ledger
        self._checkpoints = checkpoints
        self._reported = {(result.number, result.step): result for result in past.reported}
        self._waiting: deque[int] = deque()
        self.num_paused = 0
        """How many of the trials that Tune has not been given yet are paused."""
        self._entering: set[int] = set()

    def __len__(self) -> int:
        return len(self._waiting)

    def settle(self, rule: Scheduler, end: Callable[[int, Verdict], None]) -> None:
        """Does what the last runner had decided, and may have had no time for. Who goes on is known then.

        Args:
            rule: as the last runner had it.
            end: ends a trial.
        """
        decisions = {decision.number: decision for decision in self._past.decisions}
        paused, spec = set(rule.waiting()), self._ledger.spec
        for trial in self._ledger:
            number, decision = trial.number, decisions.get(trial.number)
            if trial.value is not None and trial.best_step is not None and spec.metric.reached(trial.value):
                self._ledger.stop(target_reached(spec, number, trial.best_step))
            if trial.state.finished:
                rule.leave(number)  # it may have waited at a rung when its sweep ended
                continue
            verdict = verdict_of(spec, rule, trial.step, trial.value, decision)
            if verdict is not None:
                end(number, verdict)
            elif decision is not None and number in paused and trial.state is not TrialState.PAUSED:
                self._ledger.paused(number, rule.in_words(decision))
            elif number not in paused and trial.state is TrialState.PAUSED:
                self._ledger.resumed(number)
        unfinished = [trial for trial in self._ledger if not trial.state.finished]
        # paused ones take no place, and who is promoted is chosen among all of them
        self._waiting.extend(trial.number for trial in unfinished if trial.state is TrialState.PAUSED)
        self.num_paused = len(self._waiting)
        self._waiting.extend(trial.number for trial in unfinished if trial.state is not TrialState.PAUSED)
        self._entering.update(self._waiting)
        self._tidy()
        # after a pause none was running: that needs no warning
        if any(trial.state is TrialState.RUNNING for trial in self._past.trials):
            self._say()

    @property
    def num_live(self) -> int:
        """Trials that wait to be given to Tune and that will take a place."""
        return len(self._waiting) - self.num_paused

    def next(self) -> int:
        """The trial that Tune is given next: first the paused ones."""
        self.num_paused = max(0, self.num_paused - 1)
        return self._waiting.popleft()

    def enter(self, number: int, trial: TuneTrial) -> None:
        """Tune has the trial: it gets its checkpoints, and waits if it was paused. New trials pass by."""
        if number not in self._entering:
            return
        self._entering.discard(number)
        trial.init_local_path()  # it may end before it starts
        record, name = self._ledger[number], self._ledger.spec.metric.name
        for checkpoint, reported in self._kept(number):
            saved = self._checkpoints.of_tune(checkpoint, reported, name)
            trial.run_metadata.checkpoint_manager.register_checkpoint(saved)
        if record.state is TrialState.PAUSED:
            trial.set_status(TuneTrial.PAUSED)

    def _kept(self, number: int) -> list[tuple[CheckpointRef, Reported]]:
        """A trial's checkpoints, the best and the last, as far as they are there; Tune goes on from the second."""
        trial = self._ledger[number]
        named = [checkpoint for checkpoint in (trial.checkpoint, trial.resume_from) if checkpoint is not None]
        return [
            (checkpoint, self._reported[number, checkpoint.step])
            for checkpoint in dict.fromkeys(named)
            if (number, checkpoint.step) in self._reported and self._is_there(checkpoint)
        ]

    def _is_there(self, checkpoint: CheckpointRef) -> bool:
        return once_there_is_room(lambda: checkpoint in self._checkpoints, self._ledger.warn)

    def _tidy(self) -> None:
        # as the store has them: what was decided just now has not been sent yet
        trials = self._past.trials
        known = {trial.number: [ref for ref in (trial.checkpoint, trial.resume_from) if ref] for trial in trials}
        if known:
            once_there_is_room(lambda: self._checkpoints.tidy(self._ledger.sweep_id, known), self._ledger.warn)

    def _say(self) -> None:
        on, saved = len(self._waiting), sum(1 for number in self._waiting if self._kept(number))
        self._ledger.warn(
            f"the sweep's runner was lost after {self._past.elapsed_s:.0f} s and started again: {on} of "
            f"{len(self._past.trials)} trials go on, {saved} of them from a checkpoint"
        )
