"""How sweeps scale with workers, in virtual time, and what a decision costs at 500 workers.

Speed-up: how much sooner W workers are as good as one worker after a half, three quarters and all of its budget. As
good: the regret of the best configuration that was trained to the end (noise-free, normalised as in search_quality.py),
averaged over four seeds, is as low; each contender against itself. Ideal is W. A full training takes its time however
many there are: of a budget of B, speed-ups end at about B.

    auto stop, auto promote  a budget of 100 full trainings, up to 1,024 workers
    all, with ray            a budget of 30, up to 64 workers, two problems: OptunaSearch asks too slowly for more

Latency: CPU time, on a free core the real time, of the calls that decide (a new trial or a paused one for a free
worker; what becomes of a trial that reports) in a sweep of 500 workers, when 100, 1,000 and 10,000 trials have
finished. Ray's history is filled with random configurations first: OptunaSearch's own proposals would take hours.

Rows: a speed-up for each problem (the geometric mean over the marks; 0 where one was missed by four times the ideal
time and six full trainings), a latency for each call. Summary: `speedup CONTENDER, W` is the median over problems,
`results_per_s` the results that a core can decide on in such a sweep after 1,000 trials, proposals included.
"""

from __future__ import annotations

import heapq
import itertools
import os
import statistics
import sys
import time
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process a core; set before numpy loads
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from common import Row, parser, publish
from problems import load, regret
from search_quality import RAY, Run, strategy

from toprung.tuning.records import Action
from toprung.tuning.simulate import Strategy, simulate

SETTING = "grace 3, η 3"
PROBLEMS = ("mf-hartmann6-good", "curves-rosenbrock", "curves-sparse", "curve-prior-4d-3")
TOPRUNG = ("auto stop", "auto promote")
SEEDS = range(4)
"""Of the sweeps over which a regret is averaged."""
MARKS = (0.5, 0.75, 1.0)
"""Parts of the budget after which one worker is looked at."""
TINY = 1e-3
"""Regrets that are nearer than this are the same."""
CROWD = 500
"""Workers of the sweeps whose latencies are measured."""


@dataclass(frozen=True)
class Study:
    """Contenders that are given the same budget.

    Attributes:
        budget: of the one worker, in full trainings.
        workers: how many are compared with one.
    """

    contenders: tuple[str, ...]
    problems: tuple[str, ...]
    budget: int
    workers: tuple[int, ...]


FULL = (
    Study(TOPRUNG, PROBLEMS, 100, (4, 16, 64, 256, 1_024)),
    Study((*TOPRUNG, RAY), PROBLEMS[2:], 30, (16, 64)),
)
QUICK = (Study(TOPRUNG, PROBLEMS[2:], 30, (16,)),)


@dataclass(frozen=True)
class Sweeps:
    """Sweeps that differ by their seeds alone."""

    contender: str
    problem: str
    workers: int


# ---- time to a regret


def best_regrets(sweeps: Sweeps, seed: int) -> Iterator[tuple[float, int, float]]:
    """(virtual time, seed, lowest regret of those trained to the end) at each report, without end."""
    problem = load(sweeps.problem)
    best = 1.0
    reports = simulate(
        strategy(Run(sweeps.contender, SETTING, sweeps.problem, seed)),
        lambda number, params: problem.curve(params, seed * 100_003 + number),
        workers=sweeps.workers,
    )
    for report in reports:
        if report.step == problem.max_t:
            best = min(best, regret(problem, report.params))
        yield report.time_s, seed, best


def mean_regrets(sweeps: Sweeps) -> Iterator[tuple[float, float]]:
    """(virtual time, mean over the seeds of the lowest regrets) at each report of one of the sweeps, side by side."""
    warnings.simplefilter("ignore")
    current = dict.fromkeys(SEEDS, 1.0)
    for now_s, seed, best in heapq.merge(*(best_regrets(sweeps, seed) for seed in SEEDS)):
        current[seed] = best
        yield now_s, statistics.fmean(current.values())


Targets = list[tuple[float, float]]
"""(regret, when one worker was first as good)."""


def alone(sweeps: Sweeps, budget: int) -> Targets:
    """What one worker reaches at the marks."""
    end = budget * load(sweeps.problem).max_t * len(SEEDS)
    history = list(itertools.islice(mean_regrets(sweeps), end))
    targets = [history[round(mark * end) - 1][1] + TINY for mark in MARKS]
    return [(target, next(now_s for now_s, best in history if best <= target)) for target in targets]


def together(sweeps: Sweeps, targets: Targets) -> float:
    """The speed-up of several workers, the geometric mean over the marks; 0 where they are not as good in time."""
    give_up_s = max(4 * targets[-1][1] / sweeps.workers, 6 * load(sweeps.problem).max_t)
    left, gains = list(targets), []
    for now_s, best in mean_regrets(sweeps):
        while left and best <= left[0][0]:
            gains.append(left.pop(0)[1] / now_s)
        if not left:
            return statistics.geometric_mean(gains)
        if now_s > give_up_s:
            break
    return 0.0


def speedups(study: Study) -> tuple[list[Row], dict[str, float]]:
    ones = [Sweeps(*one) for one in product(study.contenders, study.problems, (1,))]
    many = [Sweeps(*one) for one in product(study.contenders, study.problems, study.workers)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(ones, pool.map(alone, ones, itertools.repeat(study.budget)), strict=True))
        targets = [found[replace(sweeps, workers=1)] for sweeps in many]
        gains = dict(zip(many, pool.map(together, many, targets), strict=True))
    rows, summary = [], {}
    for contender, workers in product(study.contenders, study.workers):
        each = tuple(gains[Sweeps(contender, problem, workers)] for problem in study.problems)
        measure = f"{workers} workers, budget {study.budget}"
        rows.append(Row(contender, measure, "× one worker", each))
        summary[f"speedup {contender}, {measure}"] = rows[-1].median
    return rows, summary


# ---- latency


@dataclass
class Timed:
    """A strategy whose calls' CPU time is taken while `on`."""

    inner: Strategy
    on: bool = False
    finished: int = 0
    asks_s: list[float] = field(default_factory=list)
    reports_s: list[float] = field(default_factory=list)

    def next_trial(self, number: int) -> tuple[int, dict[str, Any] | None] | None:
        before_s = time.thread_time()
        job = self.inner.next_trial(number)
        if self.on:
            self.asks_s.append(time.thread_time() - before_s)
        return job

    def report(self, number: int, step: int, value: float, last: bool) -> Action:
        before_s = time.thread_time()
        action = self.inner.report(number, step, value, last)
        if self.on:
            self.reports_s.append(time.thread_time() - before_s)
        self.finished += action is Action.STOP
        return action


def latencies(contender: str, finished: int, num_asks: int) -> Timed:
    """The calls of a sweep of `CROWD` workers from its `finished`-th finished trial on, for `num_asks` asks."""
    warnings.simplefilter("ignore")
    problem = load("table-friedman-mlp")
    inner = strategy(Run(contender, SETTING, problem.name, 0))
    timed = Timed(inner)
    model = fill_at_random(inner) if contender == RAY else None
    for _ in simulate(timed, lambda number, params: problem.curve(params, number), workers=CROWD):
        if not timed.on and timed.finished >= finished:
            if model is not None:
                study_of(inner).sampler = model
            timed.on = True
        if len(timed.asks_s) >= num_asks:
            break
    return timed


def study_of(stock: Any) -> Any:
    """Optuna's study inside Ray's OptunaSearch, which has no public door to it."""
    return stock._searcher._ot_study


def fill_at_random(stock: Any) -> Any:
    """Lets OptunaSearch draw at random; returns the sampler that it had."""
    from optuna.samplers import RandomSampler  # noqa: PLC0415  as slow to load as Ray

    study = study_of(stock)
    model, study.sampler = study.sampler, RandomSampler(0)
    return model


def cost(quick: bool) -> tuple[list[Row], dict[str, float]]:
    rows, summary = [], {}
    for contender, finished in product((*TOPRUNG, RAY), (100, 1_000) if quick else (100, 1_000, 10_000)):
        num_asks = (10 if quick else 25) if contender == RAY else 300
        timed = latencies(contender, finished, num_asks)
        spent_s = sum(timed.asks_s) + sum(timed.reports_s)
        for call, taken_s in (("next_trial", timed.asks_s), ("report", timed.reports_s)):
            taken_ms = 1e3 * np.array(taken_s)
            rows.append(Row(contender, f"{call}, {finished:,} finished", "ms", tuple(taken_ms.tolist())))
            for name, percent in (("p50", 50), ("p99", 99)):
                summary[f"{call}_ms {name} {contender}, {finished} finished"] = float(np.percentile(taken_ms, percent))
        if finished == 1_000:
            summary[f"results_per_s {contender}"] = len(timed.reports_s) / spent_s
    return rows, summary


def main() -> None:
    options = parser(__doc__)
    args = options.parse_args()
    rows, summary = cost(args.quick)
    for study in QUICK if args.quick else FULL:
        print(f"{len(study.problems)} problems, budget {study.budget} …", file=sys.stderr)
        more_rows, more = speedups(study)
        rows, summary = rows + more_rows, summary | more
    publish(rows, summary, args.json)


if __name__ == "__main__":
    main()
