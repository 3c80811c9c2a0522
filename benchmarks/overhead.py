"""What a trial and a result cost, in Toprung and in bare Ray Tune, with trainables that do nothing.

Two CPUs, so two trials at a time. Each contender has a cluster of its own, one after the other, in interleaved rounds:

    ray default          tune.Tuner as it comes
    ray reuse            with reuse_actors=True
    ray reuse, no files  and TUNE_DISABLE_AUTO_CALLBACK_LOGGERS=1
    toprung              the real service, through its HTTP client; TensorBoard on

What is measured starts when the cluster (and Toprung's service) is up:

    trials_per_s    between the end of the first trial and the end of the last one
    results_per_s   the same between the first and the last result of one trial that does nothing but report
    first_result_s  from submission to the first result, of the first sweep of the cluster

In Ray Tune an end or a result counts when the driver's callbacks hear of it, in Toprung when it is committed to the
store, and for `first_result_s` when it has arrived at the client.

Summary, medians of the rounds; above 1 Toprung does more:

    trials_per_s_ratio_vs_ray_default, trials_per_s_ratio_vs_ray_reuse, results_per_s_ratio_vs_ray_default

and below 1 it is faster:

    first_result_time_ratio_vs_ray    against `ray default`
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from common import Row, parser, publish

from toprung import Client
from toprung.client import SweepHandle
from toprung.tuning.records import Event, TrialState

HERE = Path(__file__).parent
DEFAULT, REUSE, NO_FILES, TOPRUNG = "ray default", "ray reuse", "ray reuse, no files", "toprung"
UNITS = {"trials_per_s": "1/s", "results_per_s": "1/s", "first_result_s": "s"}
START_S, RUN_S, STOP_S = 120, 600, 60


@dataclass(frozen=True)
class Size:
    """How much of everything. A trial of `ray default` takes about a second, the others' take a tenth."""

    rounds: int
    slow_trials: int
    trials: int
    reports: int


QUICK = Size(rounds=1, slow_trials=8, trials=60, reports=500)
FULL = Size(rounds=3, slow_trials=20, trials=300, reports=3000)


def rate(times: Sequence[float]) -> float:
    """Events a second after the first moment: those that came in it are not counted, however many."""
    first, last = min(times), max(times)
    return sum(t > first for t in times) / (last - first)


# --- bare Ray Tune ---


def measure_ray(contender: str, size: Size) -> dict[str, float]:
    trials = size.slow_trials if contender == DEFAULT else size.trials
    command = [sys.executable, str(HERE / "bare_ray.py"), "--trials", str(trials), "--reports", str(size.reports)]
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(HERE), **ray_token(Path(folder))}
        if contender != DEFAULT:
            command.append("--reuse-actors")
        if contender == NO_FILES:
            environment["TUNE_DISABLE_AUTO_CALLBACK_LOGGERS"] = "1"
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=RUN_S, check=True)
    seen = json.loads(done.stdout.splitlines()[-1])
    return {
        "trials_per_s": rate(seen["trial_ends"]),
        "results_per_s": rate(seen["results"]),
        "first_result_s": seen["first_result"] - seen["submitted"],
    }


def ray_token(folder: Path) -> dict[str, str]:
    """Ray's token authentication, which Toprung's own cluster has on as well."""
    (folder / "token").write_text(secrets.token_hex(32))
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(folder / "token")}


# --- Toprung ---


def measure_toprung(size: Size) -> dict[str, float]:
    with service() as url, Client(url) as client:
        submitted = time.time()
        sweep = client.submit(spec("one_report", size.trials, {}), code=HERE / "trainables")
        first_result = None
        ends = []
        for event in sweep.events():
            if event.type == "trial.results" and first_result is None:
                first_result = time.time()
            if event.type == "trial.state" and event.data["state"] == TrialState.COMPLETED:
                ends.append(event.at.timestamp())
        check(sweep, ends, size.trials)
        assert first_result is not None
        sweep = client.submit(spec("many_reports", 1, {"reports": size.reports}), code=HERE / "trainables")
        results = [at for event in sweep.events() for at in result_times(event)]
        check(sweep, results, size.reports)
    return {
        "trials_per_s": rate(ends),
        "results_per_s": rate(results),
        "first_result_s": first_result - submitted,
    }


def spec(function: str, trials: int, constants: dict[str, int]) -> dict[str, Any]:
    return {
        "name": function.replace("_", "-"),
        "trainable": f"noop:{function}",
        "metric": {"name": "value", "goal": "minimize"},
        "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}, **constants},
        "search": {"algorithm": "random"},
        "scheduler": {"type": "none"},
        "budget": {"trials": trials},
        "concurrency": 2,
        "resources": {"cpu": 1},
    }


def result_times(event: Event) -> list[float]:
    """When its results were committed, once for each of them."""
    if event.type != "trial.results":
        return []
    return [event.at.timestamp()] * int(event.data["count"])


def check(sweep: SweepHandle, seen: Sequence[float], expected: int) -> None:
    record = sweep.refresh()
    if len(seen) != expected:
        sys.exit(f"{record.name} ended {record.state} with {len(seen)} of {expected}: {record.reason}")


@contextmanager
def service() -> Iterator[str]:
    """`toprung up` in a home of its own, gone afterwards. Yields its URL."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [sys.executable, "-m", "toprung.serve", "--home", folder, "--port", str(port), "--num-cpus", "2"]
        with (home / "service.log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        try:
            yield wait_for_url(home, process)
        finally:
            stop(process)


def wait_for_url(home: Path, process: subprocess.Popen[bytes]) -> str:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if (home / "service.json").exists():
            return str(json.loads((home / "service.json").read_text())["url"])
        if process.poll() is not None:
            break
        time.sleep(0.05)
    log = (home / "service.log").read_text(errors="replace")
    sys.exit(f"the service did not start within {START_S} s; its log ends with:\n{log[-2000:]}")


def stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# --- the whole ---


def measure(contender: str, size: Size) -> dict[str, float]:
    print(f"{contender} …", file=sys.stderr, flush=True)
    return measure_toprung(size) if contender == TOPRUNG else measure_ray(contender, size)


def main() -> None:
    args = parser(__doc__).parse_args()
    size = QUICK if args.quick else FULL
    contenders = (DEFAULT, REUSE, NO_FILES, TOPRUNG)
    rounds = [{contender: measure(contender, size) for contender in contenders} for _ in range(size.rounds)]
    rows = [
        Row(contender, name, unit, tuple(one[contender][name] for one in rounds))
        for name, unit in UNITS.items()
        for contender in contenders
    ]
    median = {(row.contender, row.measure): row.median for row in rows}

    def ratio(name: str, other: str) -> float:
        return median[TOPRUNG, name] / median[other, name]

    summary = {
        "trials_per_s_ratio_vs_ray_default": ratio("trials_per_s", DEFAULT),
        "trials_per_s_ratio_vs_ray_reuse": ratio("trials_per_s", REUSE),
        "results_per_s_ratio_vs_ray_default": ratio("results_per_s", DEFAULT),
        "first_result_time_ratio_vs_ray": ratio("first_result_s", DEFAULT),
    }
    publish(rows, summary, args.json)


if __name__ == "__main__":
    main()
