"""One sweep, run by a `ray.tune.Tuner` inside its own actor.

The actor works from its constructor on, so that a restart by Ray would resume it; `outcome` waits for the end. What
happens is sent to the service in batches; each is kept until it is acknowledged and sent again if it was not.
"""

from __future__ import annotations

import functools
import logging
import threading
import time
import traceback
from typing import Any

from ray.tune import (
    CheckpointConfig,
    FailureConfig,
    RunConfig,
    TuneConfig,
    Tuner,
    with_resources,
)
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.registry import register_trainable

from toprung.errors import InvalidSpec, Problem
from toprung.tuning.orders import Orders
from toprung.tuning.past import bring_back, steps_needed
from toprung.tuning.plan import compared_at, decided_at
from toprung.tuning.prior import learn, steps_of_interest
from toprung.tuning.records import Batch, SweepState
from toprung.tuning.run.adapters import SweepScheduler, SweepSearcher
from toprung.tuning.run.bookkeeping import keep_little_of_tunes_state, know_trainables
from toprung.tuning.run.checkpoints import Checkpoints, Removals, folder_of
from toprung.tuning.run.comeback import Comeback
from toprung.tuning.run.groups import settle_groups
from toprung.tuning.run.ladder import Ladder
from toprung.tuning.run.ledger import Ledger
from toprung.tuning.run.memory import let_trials_run_out_of_memory
from toprung.tuning.run.pace import Pace
from toprung.tuning.run.places import let_others_be_asked, placement
from toprung.tuning.run.recorder import Recorder, SweepStopper
from toprung.tuning.run.resets import let_failed_resets_be_attempts
from toprung.tuning.run.resources import missing, slots
from toprung.tuning.run.room import once_there_is_room
from toprung.tuning.run.seeds import sweep_seed
from toprung.tuning.run.service import Service
from toprung.tuning.run.summaries import nowhere
from toprung.tuning.run.telemetry import count_no_callbacks
from toprung.tuning.run.trainable import IDENTITY, Setting, can_be_resumed, host, load
from toprung.tuning.schedule import scheduler_of
from toprung.tuning.search import Search
from toprung.tuning.spec import Resources, SweepSpec

logger = logging.getLogger(__name__)

_SEND_INTERVAL_S = 0.1
_DISTRIBUTE = "workers are for a function that calls toprung.tuning.torch.distribute"


class Runner:
    """Runs one sweep. Lives in `toprung.tuning.run.actor`.

    Args:
        sweep_id: the sweep's id; also the name of its folder under `storage_path`.
        orders: what to run, as it is wanted now.
        storage_path: where checkpoints go; reachable from every node.
        service: where results go.
        wait_for_resources: whether the sweep waits where no present node can hold a trial.
        grows: whether nodes come as they are needed: a step of the ladder that no present one can hold is waited for.
    """

    def __init__(
        self,
        sweep_id: str,
        orders: Orders,
        storage_path: str,
        service: Service,
        wait_for_resources: bool,
        grows: bool,
    ) -> None:
        self._ledger = Ledger(sweep_id, orders.spec)
        self._ledger.agenda.direct(orders)
        self._spec = orders.spec
        self._storage_path = storage_path
        self._checkpoints = Checkpoints(storage_path)
        self._removals = Removals(self._checkpoints, sweep_id)
        self._service = service
        self._wait = wait_for_resources
        self._grows = grows
        self._outcome: tuple[SweepState, str | None] | None = None
        self._ended = threading.Event()
        threading.Thread(target=self._run, name="sweep", daemon=True).start()

    def outcome(self) -> tuple[SweepState, str | None, int]:
        """Waits for the sweep's end. All results are acknowledged by then.

        Returns:
            Its state, why, and the revision up to which it did what was asked of it.
        """
        self._ended.wait()
        assert self._outcome is not None
        return *self._outcome, self._ledger.agenda.served

    def direct(self, orders: Orders) -> None:
        """What is wanted from now on."""
        self._ledger.agenda.direct(orders)

    def stop(self, reason: str) -> None:
        """Ends the sweep: running trials are stopped, what they reported is kept."""
        self._ledger.stop(reason)

    def pause(self) -> None:
        """As `stop`, but for a sweep that goes on later: its trials end here, and are not over."""
        self._ledger.pausing = True

    # ---- the sweep's thread

    def _run(self) -> None:
        done = threading.Event()
        sender = threading.Thread(target=self._send_until, args=(done,), name="sender", daemon=True)
        sender.start()
        try:
            self._outcome = self._fit()
        except InvalidSpec as error:
            self._outcome = SweepState.FAILED, error.detail
        except Exception as error:  # whatever Tune raises ends the sweep with a reason
            logger.exception("sweep %s failed", self._ledger.sweep_id)
            self._outcome = SweepState.FAILED, f"the runner failed: {type(error).__name__}: {error}"
            self._ledger.warn(traceback.format_exc())
        self._ledger.agenda.close()
        done.set()
        sender.join()
        self._ended.set()

    def _fit(self) -> tuple[SweepState, str | None]:
        spec = self._spec
        target = load(spec.trainable, sent=spec.code is not None)
        if spec.resources.workers is not None and isinstance(target, type):
            problem = Problem("/resources/workers", "not_a_function", f"{spec.trainable} is a class; {_DISTRIBUTE}")
            raise InvalidSpec(f"resources.workers: {problem.message}", problems=[problem])
        lacking = _lacking(self._wait, spec.resources)
        if lacking is not None:
            return SweepState.FAILED, f"no node of this cluster can hold a trial: {lacking}"
        seed = sweep_seed(spec.search.seed, self._ledger.sweep_id)
        seeded = spec.search.model_copy(update={"seed": seed})
        search = Search(spec.space, spec.metric.goal, seeded, compared_at(spec.scheduler))
        if spec.search.prior:
            priors = self._service.prior_sweeps(spec.search.prior, steps_of_interest(spec))
            self._ledger.warn(learn(search, spec, priors))
        rule = scheduler_of(spec.scheduler, spec.metric.goal, seed)
        past = self._service.past(self._ledger.sweep_id, steps_needed(spec))
        bring_back(past, search, rule)
        self._ledger.take_up(past.trials, past.elapsed_s)
        comeback = Comeback(past, self._ledger, self._checkpoints)
        ladder = Ladder(self._ledger, functools.partial(_lacking, self._grows))
        searcher = SweepSearcher(self._ledger, search, rule, comeback, ladder)
        scheduler = SweepScheduler(self._ledger, search, rule, searcher, can_be_resumed(target), comeback)
        recorder = Recorder(self._ledger, search, scheduler, self._checkpoints)
        comeback.settle(rule, recorder.end)
        # registered under the sweep's id: Tune's registry knows trainables by job and name, two sweeps would meet there
        name = f"toprung-{self._ledger.sweep_id}"
        sink = functools.partial(self._service.log, self._ledger.sweep_id)
        shown = spec.tracking.tensorboard
        summaries = functools.partial(self._service.summaries, self._ledger.sweep_id) if shown else nowhere
        hosted = host(target, Setting(sink, seed, spec.trial_seed, summaries), _pace(spec))
        register_trainable(name, with_resources(hosted, placement(spec.resources)), warn=False)
        tuner = functools.partial(
            Tuner,
            name,
            tune_config=TuneConfig(
                metric=spec.metric.name,
                mode="min" if spec.metric.goal == "minimize" else "max",
                num_samples=-1,  # the searcher says when it is over
                search_alg=searcher,
                scheduler=scheduler,
                reuse_actors=True,
                trial_dirname_creator=_folder,
            ),
            run_config=RunConfig(
                name=self._ledger.sweep_id,
                storage_path=self._storage_path,
                stop=SweepStopper(self._ledger),
                callbacks=[recorder],
                failure_config=FailureConfig(max_failures=-1),  # `Interventions` counts
                checkpoint_config=self._kept(target),
                verbose=0,
            ),
        )
        count_no_callbacks()
        settle_groups()
        keep_little_of_tunes_state()
        know_trainables()
        let_trials_run_out_of_memory()
        let_failed_resets_be_attempts()
        let_others_be_asked()
        if len(comeback) or not searcher.exhausted:
            once_there_is_room(tuner, self._ledger.warn).fit()
        outcome = self._ledger.outcome()
        if outcome[0] is SweepState.PAUSED:
            self._ledger.release_all("the sweep was paused")
        else:
            recorder.end_all()
        return outcome

    def _kept(self, target: Any) -> CheckpointConfig:
        metric = self._spec.metric
        # which are kept the ledger says; Tune says which is the best
        return CheckpointConfig(
            checkpoint_score_attribute=metric.name,
            checkpoint_score_order="min" if metric.goal == "minimize" else "max",
            checkpoint_frequency=1 if can_be_resumed(target) else 0,
        )

    # ---- what goes to the service

    def _send_until(self, done: threading.Event) -> None:
        while True:
            ending = done.wait(_SEND_INTERVAL_S)
            taken = self._ledger.take()
            if taken is not None:
                batch, outbox = taken
                self._deliver(batch)
                self._removals.begin(outbox.obsolete, outbox.torn)
            elif ending:
                self._removals.end()
                return

    def _deliver(self, batch: Batch) -> None:
        pause_s = 0.1
        while True:
            try:
                self._service.record(batch)
            except Exception as error:  # the controller is away, the store locked, the disk full: all may come back
                logger.warning("batch not taken, trying again in %.1f s: %s", pause_s, error)
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, 5.0)
            else:
                return


def _folder(trial: TuneTrial) -> str:
    identity = trial.config[IDENTITY]
    return folder_of(identity["number"], identity["attempt"])


def _lacking(wait: bool, resources: Resources) -> str | None:
    """What no node of the cluster has of this, in words; None where one has it all, or is waited for."""
    return None if wait or slots(resources) else missing(resources)


def _pace(spec: SweepSpec) -> Pace:
    sign = 1.0 if spec.metric.goal == "minimize" else -1.0
    return Pace(spec.metric.name, sign, spec.metric.target, decided_at(spec.scheduler), spec.scheduler.max_t)
