"""Weights & Biases: a run for each trial, and one for the sweep with its best checkpoint.

The key comes from the service's environment alone (WANDB_API_KEY, or `wandb login` on the head node).

Online, a run is taken up where W&B's server has it. Offline, there is nothing to take up: wandb starts another file
each time, and loses what it has not written when its process dies. So a trial's file is written when the trial has
ended, at once, and counts when it can be read to its end; one that is cut short is written again.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import wandb as sdk

from toprung.errors import NotFound, Unauthorized
from toprung.serve.home import Home
from toprung.serve.tracking.run_file import is_complete
from toprung.serve.tracking.sink import folder_name
from toprung.tuning.records import BestTrial, Result, Sweep, Trial, TrialState
from toprung.tuning.spec import Wandb

_SWEEP = -1
"""Where a trial has its number."""
_INIT_TIMEOUT_S = 20.0
_WRITTEN_WITHIN_S = 30.0
_POLL_S = 0.005


class WandbSink:
    """Writes a sweep's runs offline under `<home>/wandb/`, or to the server."""

    live = False

    def __init__(self, home: Path) -> None:
        self._home = Home(home)
        self._runs: dict[int, Any] = {}

    def begin(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._options = _options(sweep)
        self.live = self._options.mode == "online"
        if self.live and not sdk.login(prompt=False):
            raise Unauthorized(
                "no W&B key: set WANDB_API_KEY in the service's environment, or use tracking.wandb.mode: offline"
            )

    def open(self, trial: Trial) -> int:
        sweep = self._sweep
        run = self._runs[trial.number] = self._init(
            f"{sweep.id}-{trial.number}",
            name=f"{sweep.name}-{trial.number}",
            job_type=self._options.job_type,
            config={**trial.config, "toprung": {"sweep": sweep.id, "trial": trial.number}},
        )
        metric = sweep.spec.metric
        best = "min" if metric.goal == "minimize" else "max"
        run.define_metric("step", hidden=True)
        run.define_metric("*", step_metric="step", step_sync=True)
        run.define_metric("memory/*", step_metric="step", step_sync=True, summary="max")
        run.define_metric(metric.name, step_metric="step", step_sync=True, summary=f"{best},last")
        # what a resumed run would do next is one more than the last step that the server has
        return max(int(run.starting_step) - 1, 0)

    def log(self, trial: Trial, results: Sequence[Result]) -> None:
        run = self._runs[trial.number]
        for result in results:
            row = {name: value for name, value in result.metrics.items() if value is not None}
            row |= {"step": result.step, "time_total_s": result.time_total_s}
            run.log({**row, "_timestamp": result.reported_at.timestamp()}, step=result.step)

    def leave(self, trial: Trial) -> None:
        self._runs.pop(trial.number).finish()

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
        self._finished(run, exit_code=1 if trial.state is TrialState.FAILED else 0)

    def end(self, sweep: Sweep, best: BestTrial | None) -> None:
        trial = best and best.trial
        run = self._runs[_SWEEP] = self._init(
            sweep.id,
            name=sweep.name,
            job_type="sweep",
            config={
                "toprung": {"sweep": sweep.id},
                "spec": sweep.spec.model_dump(mode="json"),
                "best": trial.config if trial else None,
            },
        )
        run.summary.update(
            {
                "state": sweep.state.value,
                "reason": sweep.reason,
                "best_value": trial and trial.value,
                "best_step": trial and trial.best_step,
                "best_trial": trial and trial.number,
                "trials": {state.value: count for state, count in sweep.trials.items()},
                "results": sweep.num_results,
                "gpu_hours": sweep.gpu_hours,
            }
        )
        if trial and trial.checkpoint and self._options.checkpoint:
            self._log(run, sweep, trial, trial.checkpoint.path)
        self._finished(self._runs.pop(_SWEEP), exit_code=0)

    def _log(self, run: Any, sweep: Sweep, trial: Trial, checkpoint: str) -> None:
        """The checkpoint as an artifact; none where it is gone."""
        aliases = ["best", f"trial-{trial.number}"]
        try:
            place = self._home.storage.checkpoint(checkpoint)
        except NotFound:
            return
        if isinstance(place, Path):
            # immutable: the files are sent from where they are, without a copy
            run.log_artifact(_artifact(sweep, trial, place, "immutable"), aliases=aliases)
            return
        with tempfile.TemporaryDirectory(dir=self._home.path / "wandb") as folder:
            place.download(folder)
            run.log_artifact(_artifact(sweep, trial, Path(folder), "mutable"), aliases=aliases)

    def close(self) -> None:
        while self._runs:
            self._runs.popitem()[1].finish()

    def _init(self, run_id: str, *, name: str, job_type: str, config: dict[str, Any]) -> Any:
        if not self.live:
            for folder in self._home.offline_runs(run_id):
                if not any(folder.glob("*.synced")):  # of a tracker that was killed, or of the sweep's earlier end
                    shutil.rmtree(folder, ignore_errors=True)
        options = self._options
        return sdk.init(
            project=options.project,
            entity=options.entity,
            group=options.group or folder_name(self._sweep),
            job_type=job_type,
            name=name,
            id=run_id,
            notes=options.notes,
            tags=list(options.tags) or None,
            config=config,
            mode=options.mode,
            dir=str(self._home.path / "wandb"),
            resume="allow" if self.live else None,
            reinit="create_new",
            settings=sdk.Settings(
                silent=True,
                console="off",
                disable_git=True,
                save_code=False,
                program=self._sweep.spec.trainable,
                # the machine, packages, CPU and memory of the tracker would be taken for the trial's
                x_disable_stats=True,
                x_disable_meta=True,
                x_disable_machine_info=True,
                x_save_requirements=False,
                init_timeout=_INIT_TIMEOUT_S,
            ),
        )

    def _finished(self, run: Any, exit_code: int) -> None:
        """Ends a run. Offline, `Run.finish` returns before the file is written."""
        file = Path(run.settings.sync_file)
        run.finish(exit_code=exit_code)
        deadline = time.monotonic() + _WRITTEN_WITHIN_S
        while not self.live and not is_complete(file):
            if time.monotonic() > deadline:
                raise RuntimeError(f"wandb did not write {file} in {_WRITTEN_WITHIN_S:.0f} s")
            time.sleep(_POLL_S)


def _options(sweep: Sweep) -> Wandb:
    options = sweep.spec.tracking.wandb
    assert options is not None
    return options


def _artifact(sweep: Sweep, trial: Trial, folder: Path, policy: str) -> Any:
    artifact = sdk.Artifact(
        f"{folder_name(sweep)}-best",
        type="model",
        metadata={"trial": trial.number, "step": trial.checkpoint and trial.checkpoint.step, "config": trial.config},
    )
    artifact.add_dir(str(folder), policy=policy)
    return artifact
