"""Stock Ray Tune's half of oom.py, in a process and a cluster of its own. Prints one line of JSON.

`python stock_ray.py STORAGE < points.json`
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import ray
from ray import tune
from trainables import small_device


def train(config: dict[str, Any]) -> None:
    small_device.plain(config["point"])


def main() -> None:
    points = json.load(sys.stdin)
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, _node_ip_address="127.0.0.1")
    began = time.time()
    found = tune.Tuner(
        train,
        param_space={"point": tune.grid_search(points)},
        run_config=tune.RunConfig(storage_path=sys.argv[1], verbose=0),
    ).fit()
    sweep_s = time.time() - began
    ray.shutdown()
    trials = {}
    for result in found:
        steps = 0 if result.metrics is None else int(result.metrics.get("training_iteration", 0))
        done = result.error is None
        trials[points.index(result.config["point"])] = {
            "results": steps,
            "val_loss": result.metrics["val_loss"] if done else None,
        }
    print(json.dumps({"trials": [trials[index] for index in range(len(points))], "sweep_s": sweep_s}))


if __name__ == "__main__":
    main()
