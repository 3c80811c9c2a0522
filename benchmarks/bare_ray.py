"""Bare Ray Tune's half of overhead.py, in a process and a cluster of its own. Prints one line of JSON."""

from __future__ import annotations

import argparse
import json
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


def fit(trainable: Any, space: dict[str, Any], trials: int, reuse_actors: bool) -> tuple[float, Clock]:
    """Runs one sweep. Returns when it was submitted, and the clock."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as storage:
        submitted = time.time()
        results = tune.Tuner(
            trainable,
            param_space=space,
            tune_config=tune.TuneConfig(metric="value", mode="min", num_samples=trials, reuse_actors=reuse_actors),
            run_config=tune.RunConfig(storage_path=storage, callbacks=[clock], verbose=0),
        ).fit()
    assert not results.errors, results.errors
    return submitted, clock


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--trials", type=int, required=True)
    parser.add_argument("--reports", type=int, required=True)
    parser.add_argument("--reuse-actors", action="store_true")
    args = parser.parse_args()
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    x = tune.uniform(0, 1)
    submitted, many_trials = fit(noop.one_report, {"x": x}, args.trials, args.reuse_actors)
    _, many_results = fit(noop.many_reports, {"x": x, "reports": args.reports}, 1, args.reuse_actors)
    ray.shutdown()
    print(
        json.dumps(
            {
                "submitted": submitted,
                "first_result": many_trials.results[0],
                "trial_ends": many_trials.ends,
                "results": many_results.results,
            }
        )
    )


if __name__ == "__main__":
    main()
