"""What becomes of a trial whose memory ran out: the next step of `resources.ladder`, or its end.

Plain Python. That a trial climbs counts for no retry. While it waits for what its step has no new trial of the sweep
begins: each would take the part that has just become free of what it needs whole.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from toprung.tuning.records import Failure, FailureKind, TrialState
from toprung.tuning.run.ledger import Ledger
from toprung.tuning.spec import Resources

PATIENCE_S = 60.0
"""So long new trials wait for one that climbed where nothing of the sweep runs that could make room for it: others have
what it needs, or a node with it is yet to come."""


def next_step(
    resources: Resources, step: int, kind: FailureKind, can_be_had: Callable[[int], bool] = lambda step: True
) -> int | None:
    """The first higher step that has something else of what ran out; None: there is none.

    Args:
        resources: of the sweep.
        step: at which memory ran out.
        kind: what ran out; for other failures no step helps.
        can_be_had: whether there is such a place on the cluster.
    """
    now = resources.at(step)
    higher = range(step + 1, len(resources.ladder) + 1)
    return next((other for other in higher if _helps(now, resources.at(other), kind) and can_be_had(other)), None)


def _helps(now: Resources, then: Resources, kind: FailureKind) -> bool:
    match kind:
        case FailureKind.GPU_OOM:
            return then.gpu > 0 and (then.gpu, then.accelerator_type) != (now.gpu, now.accelerator_type)
        case FailureKind.HOST_OOM:
            return (then.memory_gb or 0.0) > (now.memory_gb or 0.0)
    return False


def places(resources: Resources, step: int) -> int:
    """How many trials at the foot of the ladder would have what one has at a step, whole ones.

    What they have nothing of, as of GPUs perhaps, is not compared.
    """
    foot, there = resources.at(0), resources.at(step)
    pairs = ((foot.cpu, there.cpu), (foot.gpu, there.gpu), (foot.memory_gb or 0.0, there.memory_gb or 0.0))
    return max(1, *(math.ceil(now / before - 1e-9) for before, now in pairs if before))


def in_words(resources: Resources, step: int) -> str:
    """A step, and what it has: "step 1 of resources.ladder (gpu 1)"."""
    has = resources.ladder[step - 1].model_dump(exclude_none=True)
    words = (f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}" for name, value in has.items())
    return f"step {step} of resources.ladder ({', '.join(words)})"


class Ladder:
    """Climbs.

    Args:
        ledger: of the sweep.
        lacking: says in words what no node of the cluster has of this; None where one has it, or may come.
        clock: seconds, monotonic.
    """

    def __init__(
        self, ledger: Ledger, lacking: Callable[[Resources], str | None], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._ledger = ledger
        self._lacking = lacking
        self._clock = clock
        self._full: set[tuple[int, int]] = set()
        """Trials whose GPU ran out of memory, and at which step."""
        self._passed_over: set[int] = set()
        self._stranded: set[int] = set()
        self._idle_since: float | None = None

    def tried_again(self, number: int, failure: Failure) -> bool:
        """An attempt failed. Returns whether another one follows."""
        resources, step, kind = self._ledger.spec.resources, self._ledger[number].ladder_step, failure.kind
        higher = next_step(resources, step, kind, self._can_be_had)
        if higher is not None:
            self._ledger.climbed(number, failure, higher, in_words(resources, higher))
            return True
        if next_step(resources, 0, kind, lambda other: other <= step) is not None:  # it has come to the end
            return False
        if kind is FailureKind.GPU_OOM:
            # once it may be what the last trial has not given back yet (ray#23971), twice it is its own
            if (number, step) in self._full:
                return False
            self._full.add((number, step))
        return self._ledger.failed_attempt(number, failure)

    def _can_be_had(self, step: int) -> bool:
        resources = self._ledger.spec.resources
        lacking = self._lacking(resources.at(step))
        if lacking is not None and step not in self._passed_over:
            self._passed_over.add(step)
            text = f"no node of this cluster can hold a trial at {in_words(resources, step)}: {lacking}"
            self._ledger.warn(f"{text}; the step is passed over")
        return lacking is None

    # ---- the sweep's share

    def places(self, number: int) -> int:
        """How many places of the sweep's share the trial takes while it runs."""
        return places(self._ledger.spec.resources, self._ledger[number].ladder_step)

    @property
    def more_places(self) -> int:
        """Places that the running trials take, less their number."""
        return sum(self.places(number) - 1 for number in self._climbed(TrialState.RUNNING))

    @property
    def stranded(self) -> set[int]:
        """Trials that wait for what others have: the sweep goes on without them, and they take no place."""
        self._stranded.intersection_update(self._climbed(TrialState.PENDING))
        return self._stranded

    def holds_back(self) -> bool:
        """Whether no new trial may begin: one that climbed waits for its place."""
        waiting = set(self._climbed(TrialState.PENDING)) - self.stranded
        if not waiting or any(self._ledger[number].state is TrialState.RUNNING for number in self._ledger.live):
            self._idle_since = None
            return bool(waiting)
        now = self._clock()
        if self._idle_since is None:
            self._idle_since = now
        if now - self._idle_since < PATIENCE_S:
            return True
        for number in waiting:
            step = in_words(self._ledger.spec.resources, self._ledger[number].ladder_step)
            self._ledger.warn(
                f"trial {number} waits for a place at {step}: in {PATIENCE_S:.0f} s with nothing of the sweep running "
                "none came free, and the sweep goes on without it"
            )
        self._stranded |= waiting
        return False

    def _climbed(self, state: TrialState) -> list[int]:
        if not self._ledger.spec.resources.ladder:
            return []
        trials = (self._ledger[number] for number in self._ledger.live)
        return [trial.number for trial in trials if trial.ladder_step and trial.state is state]
