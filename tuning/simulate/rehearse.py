"""A sweep rehearsed in virtual time: what it would cost, how long it would take, how far its trials would come."""

from __future__ import annotations

import math
import os
import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context

from toprung.tuning.plan import compared_at
from toprung.tuning.records import Action
from toprung.tuning.simulate.clock import Params, Strategy, ToprungStrategy, simulate
from toprung.tuning.simulate.curves import Curves, StepTime
from toprung.tuning.spec import NoScheduler, SweepSpec

_WORTH_PROCESSES = 3_000
"""Trials, over all rehearsals, from which on starting processes pays."""
_USUAL_TRIALS = 500
"""A guess for sweeps that something else than trials bounds."""


@dataclass(frozen=True)
class Rehearsal:
    """A sweep to go through.

    Attributes:
        spec: its scheduler, search and budget decide; `budget.wall_time_s` and `gpu_hours` only with `in_seconds`.
        workers: trials at once.
        seed: of the search and of the curves.
        step: what a step takes; None: as long as it took in the recorded curves, else 1.
        resume: what starting or resuming a trial takes, in the same unit.
        in_seconds: whether that unit is a second; otherwise it is a step.
        max_steps: over all trials.
    """

    spec: SweepSpec
    curves: Curves
    workers: int
    seed: int
    step: float | None = None
    resume: float = 0.0
    in_seconds: bool = True
    max_steps: float = math.inf

    def without_early_stopping(self) -> Rehearsal:
        """The same sweep, with every trial trained to its end."""
        scheduler = NoScheduler(max_t=self.spec.scheduler.max_t)
        return replace(self, spec=self.spec.model_copy(update={"scheduler": scheduler}))


@dataclass(frozen=True)
class Outcome:
    """How a rehearsal went. Times are in its unit.

    Attributes:
        reached: step of a rung -> trials that came to it.
        pauses, resumes: of trials that waited at a rung.
        wall: until the last result.
        busy: that workers were occupied, over all workers.
        best: the best value seen; None where nothing was reported.
        best_at: when it was.
    """

    workers: int
    seed: int
    trials: int
    steps: int
    reached: dict[int, int]
    pauses: int
    resumes: int
    wall: float
    busy: float
    best: float | None
    best_at: float | None

    @property
    def utilisation(self) -> float:
        """The part of the workers' time in which they had something to do."""
        return self.busy / (self.workers * self.wall) if self.wall else 0.0

    @property
    def speedup(self) -> float:
        """Against one worker that does the same."""
        return self.busy / self.wall if self.wall else 0.0


@dataclass
class _Counted:
    """A strategy whose decisions are counted."""

    inner: Strategy
    running: set[int] = field(default_factory=set)
    trials: int = 0
    pauses: int = 0
    resumes: int = 0

    def next_trial(self, number: int) -> tuple[int, Params | None] | None:
        job = self.inner.next_trial(number)
        if job is not None:
            self.running.add(job[0])
            self.resumes += job[1] is None
            self.trials += job[1] is not None
        return job

    def report(self, number: int, step: int, value: float, last: bool) -> Action:
        action = self.inner.report(number, step, value, last)
        if action is not Action.PROMOTE:
            self.running.discard(number)
        self.pauses += action is Action.PAUSE
        return action


def rehearse(rehearsal: Rehearsal) -> Outcome:
    """Goes through a sweep until its budget is used up or its target reached."""
    spec = rehearsal.spec
    seeded = spec.model_copy(update={"search": spec.search.model_copy(update={"seed": rehearsal.seed})})
    counted = _Counted(ToprungStrategy(seeded))
    better = min if spec.metric.goal == "minimize" else max
    ends = _Ends(rehearsal)
    rungs = compared_at(spec.scheduler) or ((spec.scheduler.max_t,) if spec.scheduler.max_t else ())
    reached: Counter[int] = Counter()
    steps, wall, busy = 0, 0.0, 0.0
    best: float | None = None
    best_at: float | None = None
    reports = simulate(
        counted,
        rehearsal.curves.curve(seeded, rehearsal.seed),
        workers=rehearsal.workers,
        max_steps=rehearsal.max_steps,
        step_s=_step_time(rehearsal),
        resume_s=rehearsal.resume,
    )
    for report in reports:
        now = min(report.time_s, ends.wall)
        busy += len(counted.running) * (now - wall)
        wall = now
        if report.time_s > ends.wall:
            break
        steps = report.steps
        if report.step in rungs:
            reached[report.step] += 1
        if best is None or (report.value != best and better(report.value, best) == report.value):
            best, best_at = report.value, wall
        if busy >= ends.busy or (ends.target is not None and better(best, ends.target) == best):
            break
    return Outcome(
        workers=rehearsal.workers,
        seed=rehearsal.seed,
        trials=counted.trials,
        steps=steps,
        reached={rung: reached[rung] for rung in rungs},
        pauses=counted.pauses,
        resumes=counted.resumes,
        wall=wall,
        busy=busy,
        best=best,
        best_at=best_at,
    )


class _Ends:
    """What ends a rehearsal before its trials are through."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        spec = rehearsal.spec
        self.wall, self.busy = math.inf, math.inf
        if rehearsal.in_seconds:
            self.wall = spec.budget.wall_time_s or math.inf
            if spec.budget.gpu_hours and spec.resources.gpus:
                self.busy = spec.budget.gpu_hours * 3600 / spec.resources.gpus
        # a made-up value reaches nothing
        self.target = None if rehearsal.curves.made_up else spec.metric.target


def _step_time(rehearsal: Rehearsal) -> StepTime:
    if rehearsal.step is None and (recorded := rehearsal.curves.step_s(rehearsal.spec)) is not None:
        return recorded
    step = rehearsal.step or 1.0
    return lambda _: step


def rehearse_all(rehearsals: Sequence[Rehearsal]) -> Iterator[Outcome]:
    """Their outcomes in order, as they are ready; many or large ones are shared among processes."""
    trials = sum(rehearsal.spec.budget.trials or _USUAL_TRIALS for rehearsal in rehearsals)
    if trials < _WORTH_PROCESSES or len(rehearsals) == 1:
        yield from map(rehearse, rehearsals)
        return
    with ProcessPoolExecutor(
        min(os.cpu_count() or 1, len(rehearsals)),
        get_context("spawn"),  # not forked: the program that asks may have threads
        signal.signal,
        (signal.SIGINT, signal.SIG_DFL),  # Ctrl-C ends them without a word
    ) as pool:
        yield from pool.map(rehearse, rehearsals)
