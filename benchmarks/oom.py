"""Trials that run out of memory: how many finish, and what is lost, in Toprung and in stock Ray Tune.

The same configurations, of which half need more memory than the device has, and half of those only after some
results, as their input grows (`trainables/small_device.py`, a made-up device: nothing here needs a GPU). Two trials at
a time, no early stopping, no search but these points. Ray Tune runs the loop that its users write, with a checkpoint to
each report, and Tune's defaults (no retries: they would fail the same way); Toprung the same training as a
`TorchTrainable`.

    finished      trials that came to their last result
    wasted_steps  results of trials that failed
    best_value    lowest validation loss at the last result
    sweep_s       from submission to the end of the last trial

Summary: `finished_trials_ratio_vs_ray`, `wasted_steps_ratio_vs_ray`, `best_value_no_worse` (1 if so, else 0),
`val_loss_difference`, the largest between the same configurations that both finished.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import toprung_service
from common import Row, parser, publish
from overhead import ray_token
from trainables.small_device import RESULTS

from toprung import Client

HERE = Path(__file__).parent
RAY, TOPRUNG = "ray", "toprung"
MEMORY_MB = 40.0
SWEEP_S = 900


@dataclass(frozen=True)
class Ended:
    """How a trial ended."""

    results: int
    val_loss: float | None


def points(quick: bool) -> list[dict[str, Any]]:
    """Configurations in pairs: one that fits, one that doesn't."""
    lrs = (1e-3, 3e-3) if quick else (3e-4, 1e-3, 3e-3, 1e-2)
    sizes = ((32, 64), (64, 1024), (64, 128), (64, 512))  # width, batch size
    return [{"width": w, "batch_size": b, "lr": lr, "memory_mb": MEMORY_MB} for lr in lrs for w, b in sizes]


def run_ray(wanted: list[dict[str, Any]]) -> tuple[list[Ended], float]:
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "PYTHONPATH": str(HERE), **ray_token(Path(folder))}
        command = [sys.executable, str(HERE / "stock_ray.py"), folder]
        done = subprocess.run(
            command,
            input=json.dumps(wanted),
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            timeout=SWEEP_S,
            check=True,
        )
    told = json.loads(done.stdout.splitlines()[-1])
    return [Ended(**trial) for trial in told["trials"]], told["sweep_s"]


def run_toprung(wanted: list[dict[str, Any]]) -> tuple[list[Ended], float]:
    spec = {
        "name": "small-device",
        "trainable": "small_device:Safe",
        "metric": {"name": "val_loss", "goal": "minimize"},
        "parameters": {
            "width": {"type": "categorical", "choices": [32, 64]},
            "batch_size": {"type": "categorical", "choices": [64, 128, 512, 1024]},
            "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
            "memory_mb": MEMORY_MB,
        },
        "search": {"algorithm": "random", "points": [{k: v for k, v in p.items() if k != "memory_mb"} for p in wanted]},
        "scheduler": {"type": "none", "max_t": RESULTS},
        "budget": {"trials": len(wanted)},
        "concurrency": 2,
        "resources": {"cpu": 1},
    }
    with toprung_service.started() as (url, _, _), Client(url) as client:
        began = time.time()
        sweep = client.submit(spec, code=HERE / "trainables")
        sweep.wait(timeout_s=SWEEP_S, progress=False)
        sweep_s = time.time() - began
        ended = []
        for trial in sweep.trials():
            results = trial.results()
            last = results[-1].metrics["val_loss"] if len(results) == RESULTS else None
            ended.append(Ended(len(results), None if last is None else float(str(last))))
    return ended, sweep_s


def main() -> None:
    args = parser(__doc__).parse_args()
    wanted = points(args.quick)
    seen = {}
    for contender, run in ((RAY, run_ray), (TOPRUNG, run_toprung)):
        print(f"{contender} …", file=sys.stderr, flush=True)
        seen[contender] = run(wanted)
    rows = []
    finished, wasted, best = {}, {}, {}
    for contender, (trials, sweep_s) in seen.items():
        values = [trial.val_loss for trial in trials if trial.val_loss is not None]
        finished[contender], best[contender] = len(values), min(values)
        wasted[contender] = sum(t.results for t in trials if t.val_loss is None)
        rows += [
            Row(contender, "finished", f"of {len(trials)}", (finished[contender],)),
            Row(contender, "wasted_steps", f"of {sum(t.results for t in trials)}", (wasted[contender],)),
            Row(contender, "best_value", "nats", (best[contender],)),
            Row(contender, "sweep_s", "s", (sweep_s,)),
        ]
    both = [
        abs(ours.val_loss - theirs.val_loss)
        for ours, theirs in zip(seen[TOPRUNG][0], seen[RAY][0], strict=True)
        if ours.val_loss is not None and theirs.val_loss is not None
    ]
    summary = {
        "finished_trials_ratio_vs_ray": finished[TOPRUNG] / finished[RAY],
        "wasted_steps_ratio_vs_ray": wasted[TOPRUNG] / wasted[RAY],
        "best_value_no_worse": float(best[TOPRUNG] <= best[RAY] + 1e-6),
        "val_loss_difference": max(both),
    }
    publish(rows, summary, args.json)


if __name__ == "__main__":
    main()
