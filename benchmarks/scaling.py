"""How sweeps scale with workers, in virtual time, and what a decision costs in real time at 500 workers.

Speed-up: how much sooner W workers are as good as one worker at the end of its budget. As good: the incumbent's regret
(that of search_quality.py), averaged over three seeds, has come down to the one worker's, each contender to its own.
Ideal is W; since a full training takes its time however many there are, a budget of B full trainings allows at most B.

    toprung stop, promote   a budget of 200 full trainings, up to 1,024 workers
    all, with ray           a budget of 40, up to 64 workers: OptunaSearch asks too slowly for more

Latency: real time of the calls that decide (a new trial or a paused one for a free worker; what becomes of a trial that
reports) in a sweep of 500 workers, when 100, 1,000 and 10,000 trials have finished. Ray's history is filled with random
configurations before OptunaSearch is asked, as its own proposals would take hours.

Rows: a value for each three seeds. Summary: `speedup CONTENDER, W` is the geometric mean over problems and seeds, 0
where one was not as good in four times the ideal time or eight full trainings; `results_per_s` are the results that a
core can decide on in such a sweep after 1,000 trials, proposals included.
"""

from __future__ import annotations

import heapq
import itertools
import math
import os
import statistics
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process a core; set before numpy loads
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from common import Row, parser, publish
from problems import load, regret, samples
from search_quality import RAY, Run, strategy

from toprung.tuning.records import Action
from toprung.tuning.simulate import Strategy, simulate

SETTING = "grace 3, η 3"
PROBLEMS = ("mf-hartmann6-good", "table-friedman-mlp", "curve-prior-4d-3")
TOPRUNG = ("toprung stop", "toprung promote")
SEEDS = 3
"""Sweeps over which a regret is averaged."""
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
    budget: int
    workers: tuple[int, ...]


FULL = (Study(TOPRUNG, 200, (4, 16, 64, 256, 1_024)), Study((*TOPRUNG, RAY), 40, (4, 16, 64)))
QUICK = (Study(TOPRUNG, 40, (16,)),)


@dataclass(frozen=True)
class Sweeps:
    """Sweeps that differ by their seeds alone."""

    contender: str
    problem: str
    workers: int
    seeds: range


# ---- time to a regret


def changes(sweeps: Sweeps, seed: int) -> Iterator[tuple[float, int, float]]:
    """(virtual time, seed, regret of the incumbent) at each report, without end."""
    problem = load(sweeps.problem)
    best, best_full, current = math.inf, math.inf, 1.0
    reports = simulate(
        strategy(Run(sweeps.contender, SETTING, sweeps.problem, seed)),
        lambda number, params: problem.curve(params, seed * 100_003 + number),
        workers=sweeps.workers,
        step_s=problem.epoch_s,
    )
    for report in reports:
        if report.step == problem.max_t and report.value < best_full:
            best_full, current = report.value, regret(problem, report.params)
        elif best_full == math.inf and report.value < best:
            best, current = report.value, regret(problem, report.params)
        yield report.time_s, seed, current


def mean_regrets(sweeps: Sweeps) -> Iterator[tuple[float, float]]:
    """(virtual time, mean regret of the incumbents) at each report of one of the sweeps, side by side."""
    warnings.simplefilter("ignore")
    current = dict.fromkeys(sweeps.seeds, 1.0)
    for now_s, seed, value in heapq.merge(*(changes(sweeps, seed) for seed in sweeps.seeds)):
        current[seed] = value
        yield now_s, statistics.fmean(current.values())


def alone(sweeps: Sweeps, budget: int) -> tuple[float, float]:
    """One worker's regret at the end of its budget, and when it was first as good as that."""
    problem = load(sweeps.problem)
    num_reports = budget * problem.max_t * len(sweeps.seeds)
    history = list(itertools.islice(mean_regrets(sweeps), num_reports))
    target = history[-1][1] + TINY
    return target, next(now_s for now_s, value in history if value <= target)


def together(sweeps: Sweeps, target: float, alone_s: float) -> float:
    """The speed-up of several workers; 0 where they are not as good in time."""
    problem = load(sweeps.problem)
    full_s = problem.max_t * statistics.fmean(problem.epoch_s(p) for p in samples(problem.parameters, 200))
    give_up_s = max(4 * alone_s / sweeps.workers, 8 * full_s)
    for now_s, value in mean_regrets(sweeps):
        if value <= target:
            return alone_s / now_s
        if now_s > give_up_s:
            break
    return 0.0


def speedups(study: Study, problems: Sequence[str], groups: int) -> tuple[list[Row], dict[str, float]]:
    seeds = [range(i * SEEDS, (i + 1) * SEEDS) for i in range(groups)]
    ones = [Sweeps(*one) for one in product(study.contenders, problems, (1,), seeds)]
    many = [Sweeps(*one) for one in product(study.contenders, problems, study.workers, seeds)]
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        found = dict(zip(ones, pool.map(alone, ones, itertools.repeat(study.budget)), strict=True))
        targets, alone_s = zip(*(found[replace(sweeps, workers=1)] for sweeps in many), strict=True)
        gains = dict(zip(many, pool.map(together, many, targets, alone_s), strict=True))
    rows, summary = [], {}
    for contender, workers in product(study.contenders, study.workers):
        each = {problem: [gains[Sweeps(contender, problem, workers, some)] for some in seeds] for problem in problems}
        measure = f"{workers} workers, budget {study.budget}"
        rows += [Row(f"{contender}, {name}", measure, "× one worker", tuple(values)) for name, values in each.items()]
        values = [gain for gains_there in each.values() for gain in gains_there]
        summary[f"speedup {contender}, {measure}"] = statistics.geometric_mean(values) if all(values) else 0.0
    return rows, summary


# ---- latency


@dataclass
class Timed:
    """A strategy whose calls are timed while `on`."""

    inner: Strategy
    on: bool = False
    finished: int = 0
    asks_s: list[float] = field(default_factory=list)
    reports_s: list[float] = field(default_factory=list)

    def next_trial(self, number: int) -> tuple[int, dict[str, Any] | None] | None:
        began_s = time.perf_counter()
        job = self.inner.next_trial(number)
        if self.on:
            self.asks_s.append(time.perf_counter() - began_s)
        return job

    def report(self, number: int, step: int, value: float, last: bool) -> Action:
        began_s = time.perf_counter()
        action = self.inner.report(number, step, value, last)
        if self.on:
            self.reports_s.append(time.perf_counter() - began_s)
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
    problems, groups = (PROBLEMS[1:], 1) if args.quick else (PROBLEMS, 2)
    rows, summary = cost(args.quick)
    for study in QUICK if args.quick else FULL:
        print(f"{len(problems)} problems × {groups * SEEDS} seeds, budget {study.budget} …", file=sys.stderr)
        more_rows, more = speedups(study, problems, groups)
        rows, summary = rows + more_rows, summary | more
    publish(rows, summary, args.json)


if __name__ == "__main__":
    main()
