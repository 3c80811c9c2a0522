"""How good the configurations are that a sweep finds: Toprung against stock Ray Tune, in virtual time.

Eight workers, a budget of 30 full trainings in steps, the problems of `problems/`. Each contender runs with the same
seeds, on the same curves. After 25, 50 and 100 % of the budget the incumbent is the trial with the lowest observed loss
at the last step of a training (before there is one: of all), and its regret is its noise-free loss at the last step,
normalised so that 0 is the problem's optimum and 1 a random configuration's.

    ray               tune's ASHAScheduler and OptunaSearch, their real classes
    random stop       random search with Toprung's ASHA
    auto stop         half of the proposals by TPE, half by the Gaussian process, mode: stop
    auto promote      the same, mode: promote
    tpe stop          TPE by rung, mode: stop
    tpe promote       TPE by rung, mode: promote
    gp stop           a Gaussian process over all rungs, mode: stop
    gp promote        a Gaussian process over all rungs, mode: promote

`--peers` adds other systems, those of `peers/` that can run here or the named ones.

Methods are chosen on the problems of TUNE (`--tune`); figures are those of REPORT. Two settings: grace 3, η 3 and Ray's
defaults, grace 1, η 4.

Summary: `regret_ratio_vs_ray`, the geometric mean over problems and both settings of the final regret's ratio to Ray's,
for Toprung's defaults; below 1 Toprung is better. `epochs_frac_to_ray_final`: the part of the budget after which its
regret is as low as Ray's at the end, the median over problems.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import warnings
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process a core; set before numpy loads
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from common import Row, parser, publish
from peers import FULL_TRAININGS, PEERS, available
from problems import REPORT, TUNE, load, regret
from regrets import Curves, mean_ratio, part_to_final, plot, ratio

from toprung.tuning.simulate import Strategy, ToprungStrategy, simulate
from toprung.tuning.spec import AshaScheduler, Search, spec_from

WORKERS = 8
SETTINGS = {"grace 3, η 3": (3, 3), "grace 1, η 4": (1, 4)}
RAY = "ray"
TOPRUNG = {
    "random stop": ("random", "stop"),
    "auto stop": ("auto", "stop"),
    "auto promote": ("auto", "promote"),
    "tpe stop": ("tpe", "stop"),
    "tpe promote": ("tpe", "promote"),
    "gp stop": ("gp", "stop"),
    "gp promote": ("gp", "promote"),
}
DEFAULT = f"{Search().algorithm} {AshaScheduler(max_t=1).mode}"
MARKS = 40
"""Places of the budget at which the regret is looked at; the last is the end."""


@dataclass(frozen=True)
class Run:
    contender: str
    setting: str
    problem: str
    seed: int


def regrets(run: Run) -> list[float]:
    """The incumbent's regret at each of the `MARKS`."""
    warnings.simplefilter("ignore")
    problem = load(run.problem)
    budget = FULL_TRAININGS * problem.max_t
    at_marks: list[float] = []
    best, best_full, current = math.inf, math.inf, 1.0
    reports = simulate(
        strategy(run),
        lambda number, params: problem.curve(params, run.seed * 100_003 + number),
        workers=WORKERS,
        max_steps=budget,
        step_s=problem.epoch_s,
    )
    for report in reports:
        if report.step == problem.max_t and report.value < best_full:
            best_full, current = report.value, regret(problem, report.params)
        elif best_full == math.inf and report.value < best:
            best, current = report.value, regret(problem, report.params)
        while len(at_marks) < MARKS and report.steps >= (len(at_marks) + 1) * budget / MARKS:
            at_marks.append(current)
    return at_marks + [current] * (MARKS - len(at_marks))


def strategy(run: Run) -> Strategy:
    problem, (grace, eta) = load(run.problem), SETTINGS[run.setting]
    if run.contender in PEERS:
        return PEERS[run.contender](problem, grace, eta, run.seed)
    algorithm, mode = TOPRUNG[run.contender]
    asha = {"type": "asha", "max_t": problem.max_t, "grace_period": grace, "reduction_factor": eta, "mode": mode}
    return ToprungStrategy(
        spec_from(
            {
                "trainable": "problems:curve",
                "metric": {"name": "loss", "goal": "minimize"},
                "parameters": problem.parameters,
                "search": {"algorithm": algorithm, "seed": run.seed},
                "scheduler": asha,
                "budget": {"wall_time_s": 1},  # never comes: the simulation counts steps
            }
        )
    )


def read_cache(path: Path | None) -> dict[Run, list[float]]:
    """The runs that an earlier, interrupted call finished: nothing here depends on the clock."""
    if path is None or not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {Run(**line["run"]): line["regrets"] for line in lines}


def append_cache(path: Path | None, run: Run, curve: list[float]) -> None:
    if path is not None:
        with path.open("a") as file:
            file.write(json.dumps({"run": asdict(run), "regrets": curve}) + "\n")


def measure(contenders: Sequence[str], names: Sequence[str], seeds: range, cache: Path | None) -> Curves:
    runs = [Run(*one) for one in product((RAY, *contenders), SETTINGS, names, seeds)]
    done = read_cache(cache)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        missing = [run for run in runs if run not in done]
        for run, curve in zip(missing, pool.map(regrets, missing), strict=True):
            done[run] = curve
            append_cache(cache, run, curve)
    grouped: dict[tuple[str, str, str], list[list[float]]] = {}
    for run in runs:
        grouped.setdefault((run.contender, run.setting, run.problem), []).append(done[run])
    return {key: np.array(some) for key, some in grouped.items()}


def present(names: Sequence[str]) -> list[str]:
    """The peers that can run here; says why the others can't."""
    reasons = available(names)
    for name, reason in reasons.items():
        if reason is not None:
            print(f"without {name}: {reason}", file=sys.stderr)
    return [name for name, reason in reasons.items() if reason is None]


def main() -> None:
    others = [name for name in PEERS if name != RAY]
    options = parser(__doc__)
    options.add_argument("--tune", action="store_true", help="the problems that methods are chosen on")
    options.add_argument("--seeds", type=int, default=20)
    options.add_argument("--cache", type=Path, help="file of finished runs: an interrupted call goes on where it was")
    options.add_argument("--peers", nargs="*", choices=others, metavar="NAME", help=f"some of: {', '.join(others)}")
    options.add_argument("--plot", type=Path, metavar="FILE", help="draw regret over the budget; needs matplotlib")
    args = options.parse_args()
    names = TUNE if args.tune else REPORT
    seeds = range(2 if args.quick else args.seeds)
    if args.quick:
        names = tuple(name for name in names if load(name).max_t < 81)[:4]
    print(f"{len(names)} problems × {len(SETTINGS)} settings × {len(seeds)} seeds …", file=sys.stderr)
    contenders = [*TOPRUNG, *([] if args.peers is None else present(args.peers or others))]
    curves = measure(contenders, names, seeds, args.cache)
    rows = [
        Row(
            f"{contender}, {setting}",
            "final regret ratio",
            "× ray, over problems",
            tuple(ratio(curves, contender, RAY, setting, name, 1.0) for name in names),
        )
        for setting, contender in product(SETTINGS, contenders)
    ]
    summary = {}
    print(f"{'regret, to ray, after':28} {'25 %':>20} {'50 %':>20} {'100 %':>20}  as low as ray's final after")
    for setting, contender in product(SETTINGS, contenders):
        places = [(setting, name) for name in names]
        means = [mean_ratio(curves, contender, RAY, places, part) for part in (0.25, 0.5, 1.0)]
        to_final = statistics.median(part_to_final(curves, contender, RAY, *place) for place in places)
        cells = " ".join(f"{value:6.2f} [{low:.2f}–{high:.2f}]".rjust(20) for value, low, high in means)
        print(f"{contender + ', ' + setting:28} {cells}  {to_final:.0%}")
        summary[f"final_ratio {contender}, {setting}"] = means[-1][0]
    print()
    places = list(product(SETTINGS, names))
    summary["regret_ratio_vs_ray"] = mean_ratio(curves, DEFAULT, RAY, places, 1.0)[0]
    summary["epochs_frac_to_ray_final"] = statistics.median(
        part_to_final(curves, DEFAULT, RAY, *place) for place in places
    )
    publish(rows, summary, args.json)
    if args.plot is not None:
        plot(curves, [RAY, *contenders], names, args.plot)


if __name__ == "__main__":
    main()
