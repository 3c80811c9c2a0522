"""The controller: one detached, named actor on the head node, which starts runners and writes what they send.

It owns no truth. On every start it reads the store and takes up what it finds: queued sweeps are started, running ones
are watched through their named runner, and one whose runner is gone gets a new one, which goes on from the store.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import ActorUnavailableError, RayActorError, RayError

from toprung.errors import Conflict, NotFound
from toprung.serve.allotment import Allotment
from toprung.serve.demand import Demand
from toprung.serve.home import Home
from toprung.serve.queue import next_up
from toprung.serve.retention.deletion import Remover
from toprung.serve.runners import Runners
from toprung.serve.settings import Settings
from toprung.serve.store import Store
from toprung.tuning.orders import Orders
from toprung.tuning.past import Past
from toprung.tuning.prior import PriorSweep
from toprung.tuning.records import Batch, Failure, FailureKind, Sweep, SweepState
from toprung.tuning.run.nodes import HEAD, Cluster, Lookout

logger = logging.getLogger(__name__)

ON_HEAD = {HEAD: 0.001}
"""What lives there: the store's file and the logs are on its disk."""

_CANCELLED = "cancelled by the user"
_TICK_S = 0.1
_STOP_GRACE_S = 20.0
"""A runner that has not ended by then after a cancel is killed: its trials may hang."""
_IDLE_S = 1.0
"""So long after the last sweep, and not before the service answers, a spare runner is made."""
_MAX_DEATHS = 3
"""Runners of a sweep that die without a result in between; what kills them won't go away."""


@dataclass
class _Watched:
    """A running sweep's runner, and the call that returns when it ends."""

    actor: Any
    outcome: ray.ObjectRef[Any]
    orders: Orders
    """Those that it was last given."""
    told: ray.ObjectRef[None] | None = None
    """The call that gave them, until it has returned: a later one might overtake it."""
    stop_asked_at: float | None = None


@dataclass
class _Deaths:
    """Of a sweep's runners since its last result."""

    num_results: int
    count: int = 0


class Controller:
    """Starts, watches and stops runners. Lives in `toprung.serve.actor`."""

    def __init__(self, home: Path, *, wait_for_resources: bool) -> None:
        self._home = Home.at(home)
        self._store = Store(self._home.store_url)
        self._busy_at = time.monotonic()
        self._watched: dict[str, _Watched] = {}
        self._deaths: dict[str, _Deaths] = {}
        self._settings = Settings.read(self._home.settings_file)
        self._lookout = Lookout()
        self._allotment = Allotment(self._settings)
        self._demand = Demand(self._settings)
        self._runners = Runners(self._home, self._demand, wait_for_resources=wait_for_resources)
        self._streams = _Streams()
        self._remover = Remover(self._store, self._home)
        self._remover.start()
        self._stopping = threading.Event()
        self._loop = threading.Thread(target=self._run, name="controller", daemon=True)
        self._loop.start()

    # ---- called by runners and trials

    def record(self, batch: Batch) -> None:
        """Writes a batch; returning is the acknowledgement."""
        with contextlib.suppress(NotFound):  # the sweep was deleted: a runner that was lost must not try for ever
            self._store.write(batch)

    def log(self, sweep_id: str, number: int, attempt: int, offset: int, data: bytes) -> None:
        """Writes a piece of a trial's output at its offset; the same piece again changes nothing."""
        self._streams.write(self._home.log(sweep_id, number, attempt), offset, data)

    def summaries(self, sweep_id: str, number: int, attempt: int, offset: int, data: bytes) -> None:
        """The same with what a trial writes for TensorBoard; the tracker puts it where that finds it."""
        self._streams.write(self._home.summaries(sweep_id, number, attempt), offset, data)

    def prior_sweeps(self, sweep_ids: Sequence[str], steps: Sequence[int]) -> list[PriorSweep]:
        """What a sweep may learn from earlier ones: their trials, with the objective at these steps."""
        return [self._store.prior_sweep(sweep_id, steps) for sweep_id in sweep_ids]

    def past(self, sweep_id: str, steps: Sequence[int] | None) -> Past:
        """What is known of a sweep that a runner takes up, with the objective at these steps; None: at all."""
        return self._store.past(sweep_id, steps)

    # ---- called by the service

    def shares(self) -> dict[str, int]:
        """How many trials each running sweep may have at once."""
        return self._allotment.all()

    def shutdown(self, *, end_sweeps: bool) -> None:
        """Stops the loop.

        Args:
            end_sweeps: whether running sweeps end first, as their cluster goes away; else runners are left alone.
        """
        self._stopping.set()
        self._loop.join(timeout=10)
        if end_sweeps:
            self._end_all("the service was stopped (toprung down)")
        self._runners.close()
        self._demand.withdraw()
        self._remover.close()
        self._store.close()

    # ---- the loop

    def _run(self) -> None:
        trouble = ""
        while not self._stopping.wait(_TICK_S):
            try:
                self._tick()
                trouble = ""
            except Exception as error:  # the store is away, say; the next round tries again
                if str(error) != trouble:  # else ten times a second, as long as a disk is full
                    logger.exception("the controller's round failed")
                trouble = str(error)

    def _tick(self) -> None:
        sweeps = self._store.sweeps_in([SweepState.QUEUED, SweepState.RUNNING])
        running = [sweep for sweep in sweeps if sweep.state is SweepState.RUNNING]
        starting, _ = next_up(sweeps, self._settings)
        active = [sweep for sweep in sweeps if sweep in running or sweep in starting]
        cluster = self._lookout.now() if active else Cluster()
        self._allotment.update(active, cluster.usable)
        self._demand.update(active, cluster)
        for sweep in running:
            self._watch(sweep)
        for sweep in starting:
            self._start(sweep)
        if sweeps:
            self._busy_at = time.monotonic()
        elif self._is_idle():
            self._runners.keep_spare()

    def _is_idle(self) -> bool:
        """Whether a spare runner, which loads for seconds, is in nobody's way."""
        return time.monotonic() - self._busy_at > _IDLE_S and self._home.service_file.exists()

    def _start(self, sweep: Sweep) -> None:
        try:
            started = self._store.set_sweep_state(sweep.id, SweepState.RUNNING)
        except Conflict:  # cancelled in between
            return
        self._run_sweep(started)

    def _run_sweep(self, sweep: Sweep) -> None:
        """A new runner for the sweep: it begins, or goes on where the last one was lost."""
        orders = self._orders(sweep)
        try:
            actor = self._runners.start(sweep, orders)
        except Exception as error:  # e.g. a package that was deleted
            logger.exception("cannot start a runner for %s", sweep.id)
            self._end(sweep.id, SweepState.FAILED, f"no runner could be started: {error}")
            return
        self._watched[sweep.id] = _Watched(actor, actor.outcome.remote(), orders)

    def _orders(self, sweep: Sweep) -> Orders:
        requests, stopping = self._store.edits.orders(sweep.id)
        return Orders(
            spec=sweep.spec,
            revision=sweep.revision,
            requests=requests,
            stopping=stopping,
            prices=dict(self._settings.prices),
            share=self._allotment.share(sweep.id),
            preempt=self._allotment.must_make_room(sweep),
        )

    def _watch(self, sweep: Sweep) -> None:
        watched = self._watched.get(sweep.id) or self._find(sweep)
        if watched is None:
            self._lost(sweep, "was gone when the service came back")
            return
        if ray.wait([watched.outcome], timeout=0)[0]:
            self._finish(sweep, watched)
        elif sweep.cancel_requested:
            self._ask(sweep.id, watched, lambda: watched.actor.stop.remote(_CANCELLED))
        elif sweep.pause_requested:
            self._ask(sweep.id, watched, watched.actor.pause.remote)
        else:
            self._direct(sweep, watched)

    def _direct(self, sweep: Sweep, watched: _Watched) -> None:
        """Tells a runner what has changed of what is wanted."""
        if watched.told is not None:
            if not ray.wait([watched.told], timeout=0)[0]:
                return
            try:
                ray.get(watched.told)
            except RayError as error:  # the connection broke: they may not have come
                logger.warning("the runner of %s was not told of a change, telling again: %s", sweep.id, _brief(error))
                watched.orders = watched.orders.model_copy(update={"revision": -1})
            watched.told = None
        known, share = watched.orders, self._allotment.share(sweep.id)
        preempt = self._allotment.must_make_room(sweep)
        if (sweep.revision, share, preempt) != (known.revision, known.share, known.preempt):
            watched.orders = self._orders(sweep)
            watched.told = watched.actor.direct.remote(watched.orders)

    def _find(self, sweep: Sweep) -> _Watched | None:
        """The runner of a sweep that an earlier life of this controller started."""
        orders = self._orders(sweep)
        actor = self._runners.find(sweep, orders)
        if actor is None:
            return None
        # it may have others, of an earlier life
        told = actor.direct.remote(orders)
        self._watched[sweep.id] = _Watched(actor, actor.outcome.remote(), orders, told)
        return self._watched[sweep.id]

    def _finish(self, sweep: Sweep, watched: _Watched) -> None:
        revision: int | None = None
        try:
            state, reason, revision = ray.get(watched.outcome)
        except ActorUnavailableError as error:  # the connection broke; it may well be alive
            logger.warning("the runner of %s does not answer, asking again: %s", sweep.id, _brief(error))
            watched.outcome = watched.actor.outcome.remote()
            return
        except RayActorError as error:
            self._runners.release(sweep.id, watched.actor)
            self._lost(sweep, _brief(error))
            return
        except RayError as error:  # the runner's environment could not be made
            state, reason = SweepState.FAILED, f"its environment could not be made: {_brief(error)}"
        if sweep.cancel_requested:
            state, reason = SweepState.CANCELLED, _CANCELLED
        self._end(sweep.id, state, reason, revision=revision)
        self._runners.release(sweep.id, watched.actor)

    def _lost(self, sweep: Sweep, how: str) -> None:
        """A running sweep has no runner any more: it gets another, unless its runners die of the sweep itself."""
        logger.warning("the runner of %s is lost: %s", sweep.id, how)
        self._watched.pop(sweep.id, None)
        if sweep.cancel_requested:
            self._end(sweep.id, SweepState.CANCELLED, _CANCELLED)
            return
        if sweep.pause_requested:
            self._end(sweep.id, SweepState.PAUSED, None)
            return
        deaths = self._deaths.get(sweep.id)
        if deaths is None or deaths.num_results < sweep.num_results:
            deaths = self._deaths[sweep.id] = _Deaths(sweep.num_results)
        deaths.count += 1
        if deaths.count >= _MAX_DEATHS:
            reason = (
                f"its runner died {_MAX_DEATHS} times without a result in between; what its trials reported is kept"
            )
            self._end(sweep.id, SweepState.FAILED, reason, lost=True)
            return
        self._run_sweep(sweep)

    def _ask(self, sweep_id: str, watched: _Watched, end: Callable[[], Any]) -> None:
        """Has the runner end; one that does not is killed."""
        if watched.stop_asked_at is None:
            watched.stop_asked_at = time.monotonic()
            end()
        elif time.monotonic() - watched.stop_asked_at > _STOP_GRACE_S:
            logger.warning("the runner of %s did not stop in %.0f s and is killed", sweep_id, _STOP_GRACE_S)
            ray.kill(watched.actor)

    def _end(
        self, sweep_id: str, state: SweepState, reason: str | None, *, lost: bool = False, revision: int | None = None
    ) -> None:
        failure = Failure(kind=FailureKind.NODE_LOST, message=reason or "its runner is gone") if lost else None
        self._store.set_sweep_state(sweep_id, state, reason, failure=failure, revision=revision)
        self._watched.pop(sweep_id, None)
        self._deaths.pop(sweep_id, None)

    def _end_all(self, reason: str) -> None:
        """Running trials are told to stop, so that their best results and checkpoints are kept."""
        for watched in self._watched.values():
            watched.actor.stop.remote(reason)
        ends_at = time.monotonic() + _STOP_GRACE_S
        for sweep_id, watched in list(self._watched.items()):
            with contextlib.suppress(RayError):  # a runner that hangs or died: its sweep is ended all the same
                ray.get(watched.outcome, timeout=max(0.0, ends_at - time.monotonic()))
            with contextlib.suppress(Conflict):
                self._end(sweep_id, SweepState.CANCELLED, reason)


class _Streams:
    """Appends to the files of trials, idempotently by offset."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def write(self, path: Path, offset: int, data: bytes) -> None:
        with self._lock:
            path.parent.mkdir(exist_ok=True)
            with path.open("ab") as file:
                file.write(data[max(0, file.tell() - offset) :])


def _brief(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1][:500] if lines else type(error).__name__
