"""What ends attempts of trials besides their own end and early stopping: users, time limits, errors, nodes that go."""

from __future__ import annotations

import logging
import operator
import time
from collections.abc import Mapping
from typing import Any

import ray
from ray.tune.experiment import Trial as TuneTrial

from toprung.tuning.records import Failure, FailureKind, SetAside, TrialState, utc_now
from toprung.tuning.run import nodes
from toprung.tuning.run.departures import Departures
from toprung.tuning.run.health import Health
from toprung.tuning.run.ladder import Ladder
from toprung.tuning.run.ledger import Ledger
from toprung.tuning.run.places import move, nodes_of, step_back, waits_for_a_place, workers_of
from toprung.tuning.run.trainable import IDENTITY
from toprung.tuning.run.verdict import Verdict

logger = logging.getLogger(__name__)

_STOPPED: Verdict = (TrialState.CANCELLED, "stopped by the user", None)
_LOOK_S = 1.0
"""So often the cluster is asked which of its nodes leave, or were set aside."""


class Interventions:
    """Ends trials from outside of them.

    A running attempt is killed, not asked: what is to end often hangs. Tune takes that for a failure, of which
    `attempt_failed` knows better.

    Args:
        ladder: what a trial is tried again with.
        trials: by number, those that Tune has.
        verdicts: by number, how trials end that Tune is told to stop.
    """

    def __init__(
        self, ledger: Ledger, ladder: Ladder, trials: Mapping[int, TuneTrial], verdicts: dict[int, Verdict]
    ) -> None:
        self._ledger = ledger
        self._ladder = ladder
        self._trials = trials
        self._verdicts = verdicts
        self._killed: dict[int, Verdict | Failure | str] = {}
        """By number, what becomes of the trial; words: it moves, for this reason."""
        self._departures = Departures(ledger)
        self._looked_at = float("-inf")
        self._workers: list[object] = []
        self.health = Health()
        self.avoided: frozenset[str] = frozenset()
        """Ids of nodes where no trial may begin."""
        self._told_to_avoid = self.avoided
        """Those that the waiting trials know of."""
        self._over: list[TuneTrial] = []
        self._again: list[TuneTrial] = []

    def carry_out(self, tune_controller: Any) -> None:
        """Does what has become necessary since the last call; between two events of Tune's loop."""
        while self._over:
            tune_controller.stop_trial(self._over.pop())
        try:
            self._look_around(tune_controller)
        except Exception as error:  # the GCS is away: the sweep goes on without it
            logger.warning("the cluster does not say how its nodes are: %s: %s", type(error).__name__, error)
        while self._again:
            trial = self._again.pop()
            move(tune_controller, trial, self._ledger.resources(trial.config[IDENTITY]["number"]), self.avoided)
        for number in self._ledger.to_stop():
            trial = self._trials.get(number)
            if trial is None or number in self._killed:
                continue
            if trial.status == TuneTrial.RUNNING:
                self._kill(number, trial, _STOPPED)
            else:
                self._end_waiting(tune_controller, number, trial, _STOPPED)
        for number, message, final in self._ledger.overdue():
            trial = self._trials.get(number)
            if trial is not None and number not in self._killed and trial.status == TuneTrial.RUNNING:
                failure = Failure(kind=FailureKind.TIMEOUT, message=message)
                self._kill(number, trial, (TrialState.FAILED, None, failure) if final else failure)

    def _look_around(self, tune_controller: Any) -> None:
        """Has trials leave nodes that go away, and avoid those that were set aside."""
        workers = workers_of(tune_controller)
        if not (len(workers) == len(self._workers) and all(map(operator.is_, workers, self._workers))):
            self._workers = workers
            at_work = tune_controller._trial_to_actor
            self.health.where = {t.config[IDENTITY]["number"]: nodes_of(tune_controller, t) for t in at_work}
        if time.monotonic() - self._looked_at < _LOOK_S:
            return
        self._looked_at = time.monotonic()
        avoided = self.avoided = frozenset(record.node_id for record in nodes.set_aside())
        if avoided != self._told_to_avoid:
            self._told_to_avoid = avoided
            self._ask_anew(tune_controller)
        leaving = nodes.leaving()
        if not leaving:
            return
        where, trials = self.health.where, self._trials
        running = {n: where[n] for n in where if n in trials and trials[n].status == TuneTrial.RUNNING}
        for number, why in self._departures.due(running, leaving, _name_of):
            if number not in self._killed:
                self._kill(number, self._trials[number], why)

    def _ask_anew(self, tune_controller: Any) -> None:
        """Trials that wait do so for other nodes from now on; those that have asked Ray for a place ask again."""
        for number, trial in self._trials.items():
            if trial.status == TuneTrial.RUNNING or trial in self._again:
                continue
            if waits_for_a_place(tune_controller, trial):
                self._ledger.made_room(number, "waits for another node")
                step_back(tune_controller, trial)
            if trial not in tune_controller._staged_trials:
                move(tune_controller, trial, self._ledger.resources(number), self.avoided)

    def has_killed(self, number: int) -> bool:
        """Whether the trial's worker was ended here."""
        return number in self._killed

    def attempt_failed(self, trial: TuneTrial, failure: Failure) -> None:
        """Tune is about to try again. Decides whether it does.

        Args:
            trial: whose attempt failed.
            failure: as it looks from outside.
        """
        identity = trial.config[IDENTITY]
        number = identity["number"]
        why = self._killed.pop(number, failure)
        if isinstance(why, Failure):
            self._suspect(number, why)
        if isinstance(why, str):
            self._ledger.lost_attempt(number, why)
        if isinstance(why, str) or (isinstance(why, Failure) and self._ladder.tried_again(number, why)):
            identity["attempt"] += 1
            identity["gpu"] = self._ledger.resources(number).gpu
            self._again.append(trial)
            return
        if isinstance(why, Failure):
            why = (TrialState.FAILED, None, why)
        self._verdicts[number] = why
        self._over.append(trial)

    def end_of(self, number: int, failure: Failure) -> Verdict:
        """How a trial ends that Tune doesn't try again."""
        why = self._killed.pop(number, failure)
        if isinstance(why, str):  # it was moving
            why = failure
        return (TrialState.FAILED, None, why) if isinstance(why, Failure) else why

    def _suspect(self, number: int, failure: Failure) -> None:
        """Sets the node aside where it may be at fault."""
        found = self.health.failed(number, self._ledger[number].step, failure.kind)
        if found is None:
            return
        node, trials = found
        record = SetAside(
            node_id=node,
            node=_name_of(node),
            sweep_id=self._ledger.sweep_id,
            trials=trials,
            reason=failure.message,
            at=utc_now(),
        )
        try:
            nodes.put_aside(record)
        except Exception as error:  # the GCS is away
            logger.warning("node %s can't be set aside: %s: %s", record.node, type(error).__name__, error)
            return
        self.avoided |= {node}  # a trial may be begun before the next look around
        self._looked_at = float("-inf")
        told = ", ".join(map(str, trials))
        self._ledger.warn(
            f"node {record.node} is set aside and gets no new trials: trials {told} failed on it in a row, and none "
            f"elsewhere, the last of {failure.message}; `toprung cluster take-back {record.node}` undoes that"
        )

    def _kill(self, number: int, trial: TuneTrial, why: Verdict | Failure | str) -> None:
        actor = trial.temporary_state.ray_actor
        if actor is None:  # between two workers: the next round finds it in one
            return
        logger.info("trial %d is ended: %s", number, why)
        self._killed[number] = why
        ray.kill(actor)

    def _end_waiting(self, tune_controller: Any, number: int, trial: TuneTrial, verdict: Verdict) -> None:
        self._verdicts[number] = verdict
        if trial in tune_controller._staged_trials:  # else Tune keeps a worker for it
            tune_controller._unstage_trial_with_resources(trial)
        tune_controller.stop_trial(trial)


def _name_of(node_id: str) -> str:
    """A node's host name, as far as that can be had."""
    try:
        return next(node.name for node in nodes.alive() if node.id == node_id)
    except Exception:  # it is gone, or the GCS is
        return node_id[:12]
