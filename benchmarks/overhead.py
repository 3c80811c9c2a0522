"""What a trial and a result cost, in Toprung and in bare Ray Tune, with trainables that do nothing.

Two CPUs, so two trials at a time. Each contender has a cluster of its own, one after the other, in interleaved rounds:

    ray default          tune.Tuner as it comes
    ray reuse            with reuse_actors=True
    ray reuse, no files  and TUNE_DISABLE_AUTO_CALLBACK_LOGGERS=1
    toprung              the real service, through its HTTP client; TensorBoard on

What is measured starts when the cluster (and Toprung's service) is up and Ray Tune is imported:

    first_result_s        from submission to the first result, of the first sweep of the cluster
    first_result_again_s  the same of the second: a Tuner in the same driver, or a sweep sent to the idle service
    sweep_s_N             from submission to the end of the last of N trials; `ray default` has time for 10 only
    trials_per_s          between the end of the first and of the last trial of the largest sweep that all but it ran
    results_per_s         the same between the first and the last result of one trial that does nothing but report
    driver_cpu_ms         of the process with Tune's loop, for one of these results (in Toprung, the runner)
    driver_rss_mb         its largest resident memory

In Ray Tune an end or a result counts when the driver's callbacks hear of it, in Toprung when it is committed to the
store, and for the first result when it has arrived at the client.

Summary, medians of the rounds; above 1 Toprung does more:

    trials_per_s_ratio_vs_ray_default, trials_per_s_ratio_vs_ray_reuse,
    results_per_s_ratio_vs_ray_default, results_per_s_ratio_vs_ray_no_files

and below 1 it is faster or needs less:

    first_result_time_ratio_vs_ray    first sweep against first sweep of `ray default`
    first_result_warm_ratio_vs_ray    an idle service against a fresh driver (`first_result_s` of `ray default`)
    first_result_warm_ratio_vs_second_tuner
    driver_cpu_ratio_vs_ray_default, driver_cpu_ratio_vs_ray_no_files
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import toprung_service
from common import Row, parser, publish

from toprung import Client

HERE = Path(__file__).parent
DEFAULT, REUSE, NO_FILES, TOPRUNG = "ray default", "ray reuse", "ray reuse, no files", "toprung"
CONTENDERS = (DEFAULT, REUSE, NO_FILES, TOPRUNG)
RUN_S = 3600


@dataclass(frozen=True)
class Size:
    """How much of everything. The first sweep is for the first result, the others are measured by their number of
    trials; `most` are those that only the two fastest run."""

    rounds: int
    trials: tuple[int, ...]
    most: tuple[int, ...]
    reports: int

    def of(self, contender: str) -> list[int]:
        if contender == DEFAULT:
            return [2, 10]
        return [2, *self.trials, *(self.most if contender in (NO_FILES, TOPRUNG) else ())]


QUICK = Size(rounds=1, trials=(10, 300), most=(), reports=3000)
FULL = Size(rounds=3, trials=(10, 100, 1000), most=(10_000,), reports=10_000)


def rate(times: Sequence[float]) -> float:
    """Events a second after the first moment: those that came in it are not counted, however many."""
    first, last = min(times), max(times)
    return sum(t > first for t in times) / (last - first)


def run_ray(contender: str, size: Size) -> dict[str, Any]:
    command = [sys.executable, str(HERE / "bare_ray.py"), "--reports", str(size.reports)]
    command += ["--trials", *map(str, size.of(contender))]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(HERE), **ray_token(Path(folder))}
        if contender != DEFAULT:
            command.append("--reuse-actors")
        if contender == NO_FILES:
            environment["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=RUN_S, check=True)
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def ray_token(folder: Path) -> dict[str, str]:
    """Ray's token authentication, which Toprung's own cluster has on as well."""
    (folder / "token").write_text(secrets.token_hex(32))
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}


def run_toprung(size: Size) -> dict[str, Any]:
    with toprung_service.started() as (url, process, _), Client(url) as client:
        sweeps = []
        for trials in size.of(TOPRUNG):
            sweeps.append(toprung_service.sweep(client, process, "one_report", trials))
            toprung_service.settle(process)
        reports = toprung_service.sweep(client, process, "many_reports", 1, reports=size.reports)
    return {"sweeps": sweeps, "reports": reports, "driver_rss_mb": max(one["driver_rss_mb"] for one in sweeps)}


def measure(contender: str, size: Size) -> dict[str, float]:
    print(f"{contender} …", file=sys.stderr, flush=True)
    seen = run_toprung(size) if contender == TOPRUNG else run_ray(contender, size)
    sweeps, reports = seen["sweeps"], seen["reports"]
    largest = sweeps[len(sweeps) - 1 if contender == DEFAULT else len(size.trials)]
    first, again = (one.get("first_result", one["results"][0]) - one["submitted"] for one in sweeps[:2])
    return {
        "first_result_s": first,
        "first_result_again_s": again,
        **{f"sweep_s_{len(one['ends'])}": max(one["ends"]) - one["submitted"] for one in sweeps[1:]},
        "trials_per_s": rate(largest["ends"]),
        "results_per_s": rate(reports["results"]),
        "driver_cpu_ms": 1000 * reports["driver_cpu_s"] / size.reports,
        "driver_rss_mb": seen["driver_rss_mb"],
    }


def unit_of(measure: str) -> str:
    return next(unit for ending, unit in UNITS.items() if ending in measure)


UNITS = {"per_s": "1/s", "cpu_ms": "ms", "rss_mb": "MB", "_s": "s"}


def main() -> None:
    args = parser(__doc__).parse_args()
    size = QUICK if args.quick else FULL
    rounds = [{contender: measure(contender, size) for contender in CONTENDERS} for _ in range(size.rounds)]
    names = rounds[0][TOPRUNG]
    rows = [
        Row(contender, name, unit_of(name), tuple(one[contender][name] for one in rounds))
        for name in names
        for contender in CONTENDERS
        if name in rounds[0][contender]
    ]
    median = {(row.contender, row.measure): row.median for row in rows}

    def ratio(name: str, other: str, others_name: str | None = None) -> float:
        return median[TOPRUNG, name] / median[other, others_name or name]

    summary = {
        "trials_per_s_ratio_vs_ray_default": ratio("trials_per_s", DEFAULT),
        "trials_per_s_ratio_vs_ray_reuse": ratio("trials_per_s", REUSE),
        "results_per_s_ratio_vs_ray_default": ratio("results_per_s", DEFAULT),
        "results_per_s_ratio_vs_ray_no_files": ratio("results_per_s", NO_FILES),
        "first_result_time_ratio_vs_ray": ratio("first_result_s", DEFAULT),
        "first_result_warm_ratio_vs_ray": ratio("first_result_again_s", DEFAULT, "first_result_s"),
        "first_result_warm_ratio_vs_second_tuner": ratio("first_result_again_s", DEFAULT),
        "driver_cpu_ratio_vs_ray_default": ratio("driver_cpu_ms", DEFAULT),
        "driver_cpu_ratio_vs_ray_no_files": ratio("driver_cpu_ms", NO_FILES),
    }
    publish(rows, summary, args.json)


if __name__ == "__main__":
    main()
