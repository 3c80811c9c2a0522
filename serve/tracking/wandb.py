"""Weights & Biases: one run per trial, grouped by sweep.

The key comes from the service's environment alone (WANDB_API_KEY, or `wandb login` on the head node).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wandb as sdk

from toprung.serve.tracking.sink import folder_name
from toprung.tuning.records import Result, Sweep, Trial, TrialState

_INIT_TIMEOUT_S = 20.0


class WandbSink:
    """Writes the trials of a sweep as runs, offline under `<home>/wandb/` or to the server."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._runs: dict[int, Any] = {}

    def start(self, sweep: Sweep, trial: Trial) -> None:
        options = sweep.spec.tracking.wandb
        assert options is not None
        if options.mode == "online" and not sdk.login(prompt=False):
            raise RuntimeError(
                "no W&B key: set WANDB_API_KEY in the service's environment, or use tracking.wandb.mode: offline"
            )
        self._runs[trial.number] = sdk.init(
            project=options.project,
            entity=options.entity,
            group=folder_name(sweep),
            job_type="trial",
            name=f"{sweep.name}-{trial.number}",
            id=f"{sweep.id}-{trial.number}",
            tags=list(options.tags) or None,
            config={**trial.config, "toprung": {"sweep": sweep.id, "trial": trial.number}},
            mode=options.mode,
            dir=str(self._root),
            resume="allow" if options.mode == "online" else None,
            reinit="create_new",
            settings=sdk.Settings(
                silent=True,
                console="off",
                disable_git=True,
                save_code=False,
                # the tracker's own CPU and memory would be taken for the trial's
                x_disable_stats=True,
                init_timeout=_INIT_TIMEOUT_S,
            ),
        )

    def write(self, trial: Trial, results: Sequence[Result]) -> None:
        run = self._runs[trial.number]
        for result in results:
            metrics = {name: value for name, value in result.metrics.items() if value is not None}
            run.log({**metrics, "time_total_s": result.time_total_s}, step=result.step)

    def finish(self, trial: Trial) -> None:
        run = self._runs.pop(trial.number)
        run.summary.update(
            {
                "state": trial.state.value,
                "reason": trial.reason or (trial.failure.message if trial.failure else None),
                "best_value": trial.value,
                "best_step": trial.best_step,
                "attempt": trial.attempt,
            }
        )
        run.finish(exit_code=1 if trial.state is TrialState.FAILED else 0)

    def flush(self) -> None:
        """Nothing: wandb's own process writes as it goes."""

    def close(self) -> None:
        for run in self._runs.values():
            run.finish()
        self._runs.clear()
