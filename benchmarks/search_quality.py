"""How good the configurations are that a sweep finds: Toprung against stock Ray Tune, in virtual time.

Eight workers, a budget of 30 full trainings in steps, the problems of `problems/`. Each contender runs with the same
seeds, on the same curves. After 25, 50 and 100 % of the budget the incumbent is the trial with the lowest observed loss
at the last step of a training (before there is one: of all), and its regret is its noise-free loss at the last step,
normalised so that 0 is the problem's optimum and 1 a random configuration's. By a second rule (`leading`) the incumbent
is the trial with the lowest observed loss of all, whatever step it has come to: what a user who looks sees in the lead.

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
regret is as low as Ray's at the end, the median over problems. Both again by the second rule, with `_leading`.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path
from typing import NamedTuple

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


class Regrets(NamedTuple):
    """The incumbent's regret at each of the `MARKS`, by both rules."""

    full: list[float]
    """The best of the trials that were trained in full."""
    leading: list[float]
    """The best of all."""


def regrets(run: Run) -> Regrets:
    warnings.simplefilter("ignore")
    problem = load(run.problem)
    budget = FULL_TRAININGS * problem.max_t
    found = Regrets([], [])
    best, best_full, current, leading = math.inf, math.inf, 1.0, 1.0
    reports = simulate(
        strategy(run),
        lambda number, params: problem.curve(params, run.seed * 100_003 + number),
        workers=WORKERS,
        max_steps=budget,
        step_s=problem.epoch_s,
    )
    for report in reports:
        if report.value < best:
            best, leading = report.value, regret(problem, report.params)
        if report.step == problem.max_t and report.value < best_full:
            best_full, current = report.value, regret(problem, report.params)
        elif best_full == math.inf:
            current = leading
        while len(found.full) < MARKS and report.steps >= (len(found.full) + 1) * budget / MARKS:
            found.full.append(current)
            found.leading.append(leading)
    rest = MARKS - len(found.full)
    return Regrets(found.full + [current] * rest, found.leading + [leading] * rest)


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


def read_cache(path: Path | None) -> dict[Run, Regrets]:
    """The runs that an earlier, interrupted call finished: nothing here depends on the clock."""
    if path is None or not path.exists():
        return {}
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return {Run(**line["run"]): Regrets(**line["regrets"]) for line in lines}


def append_cache(path: Path | None, run: Run, found: Regrets) -> None:
    if path is not None:
        with path.open("a") as file:
            file.write(json.dumps({"run": asdict(run), "regrets": found._asdict()}) + "\n")


def measure(contenders: Sequence[str], names: Sequence[str], seeds: range, cache: Path | None) -> dict[str, Curves]:
    """Curves by either rule, under its name."""
    runs = [Run(*one) for one in product((RAY, *contenders), SETTINGS, names, seeds)]
    done = read_cache(cache)
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        missing = [run for run in runs if run not in done]
        for run, found in zip(missing, pool.map(regrets, missing), strict=True):
            done[run] = found
            append_cache(cache, run, found)
    return {rule: _grouped({run: getattr(done[run], rule) for run in runs}) for rule in Regrets._fields}


def _grouped(found: Mapping[Run, list[float]]) -> Curves:
    grouped: dict[tuple[str, str, str], list[list[float]]] = {}
    for run, regret_at_marks in found.items():
        grouped.setdefault((run.contender, run.setting, run.problem), []).append(regret_at_marks)
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
    by_rule = measure(contenders, names, seeds, args.cache)
    curves = by_rule["full"]
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
    for rule, suffix in (("full", ""), ("leading", "_leading")):
        summary |= compare(by_rule[rule], contenders, names, suffix)
    publish(rows, summary, args.json)
    if args.plot is not None:
        plot(curves, [RAY, *contenders], names, args.plot)


def compare(curves: Curves, contenders: Sequence[str], names: Sequence[str], suffix: str) -> dict[str, float]:
    """Prints each contender beside Ray; what of it belongs into the summary, with `suffix` at its names."""
    summary = {}
    by = "the trial that leads" if suffix else "full trainings"
    print(f"{'by ' + by + ', to ray, after':36} {'25 %':>20} {'50 %':>20} {'100 %':>20}  as low as ray's final after")
    for setting, contender in product(SETTINGS, contenders):
        places = [(setting, name) for name in names]
        means = [mean_ratio(curves, contender, RAY, places, part) for part in (0.25, 0.5, 1.0)]
        to_final = statistics.median(part_to_final(curves, contender, RAY, *place) for place in places)
        cells = " ".join(f"{value:6.2f} [{low:.2f}–{high:.2f}]".rjust(20) for value, low, high in means)
        print(f"{contender + ', ' + setting:36} {cells}  {to_final:.0%}")
        summary[f"final_ratio{suffix} {contender}, {setting}"] = means[-1][0]
    print()
    places = list(product(SETTINGS, names))
    summary[f"regret_ratio_vs_ray{suffix}"] = mean_ratio(curves, DEFAULT, RAY, places, 1.0)[0]
    summary[f"epochs_frac_to_ray_final{suffix}"] = statistics.median(
        part_to_final(curves, DEFAULT, RAY, *place) for place in places
    )
    return summary


if __name__ == "__main__":
    main()
