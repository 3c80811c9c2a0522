"""Bare Ray Tune's half of overhead.py, in a process and a cluster of its own. Prints one line of JSON."""

from __future__ import annotations

import argparse
import json
import resource
import tempfile
import time
from typing import Any

import ray
from ray import tune
from trainables import noop


class Clock(tune.Callback):
    """When Tune's driver heard of each result and of each end of a trial."""

    def __init__(self) -> None:
        self.results: list[float] = []
        self.ends: list[float] = []

    def on_trial_result(self, *_: Any, **__: Any) -> None:
        self.results.append(time.time())

    def on_trial_complete(self, *_: Any, **__: Any) -> None:
        self.ends.append(time.time())


def fit(trainable: Any, trials: int, reuse_actors: bool, **space: Any) -> dict[str, Any]:
    """Runs one sweep. Returns when it was submitted, what the clock saw, and the driver's CPU seconds."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as storage:
        cpu = time.process_time()
        submitted = time.time()
        results = tune.Tuner(
            trainable,
            param_space={"x": tune.uniform(0, 1), **space},
            tune_config=tune.TuneConfig(metric="value", mode="min", num_samples=trials, reuse_actors=reuse_actors),
            run_config=tune.RunConfig(storage_path=storage, callbacks=[clock], verbose=0),
        ).fit()
        cpu = time.process_time() - cpu
    assert not results.errors, results.errors
    return {"submitted": submitted, "results": clock.results, "ends": clock.ends, "driver_cpu_s": cpu}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, nargs="+", required=True)
    parser.add_argument("--reports", type=int, required=True)
    parser.add_argument("--reuse-actors", action="store_true")
    args = parser.parse_args()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    sweeps = [fit(noop.one_report, trials, args.reuse_actors) for trials in args.trials]
    reports = fit(noop.many_reports, 1, args.reuse_actors, reports=args.reports)
    ray.shutdown()
    rss_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"sweeps": sweeps, "reports": reports, "driver_rss_mb": rss_mb}))


if __name__ == "__main__":
    main()
