"""The runner as an actor.

Whoever makes the actor loads this module. It is light, so that the controller does without Ray Tune and Optuna, which
take seconds and a hundred megabytes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toprung.tuning.records import SweepState
    from toprung.tuning.run.service import Service
    from toprung.tuning.spec import SweepSpec

TUNE_ENV = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a third of the driver's time; our store has the results
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a missing metric fails its trial, not the sweep
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's experiment state is not what we recover from
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_MAX_PENDING_TRIALS_PG": "64",  # our searcher holds the sweep to its share
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_V2_ENABLED": "0",
}
"""Environment of a runner and its trials."""


class RunnerActor:
    """Runs one sweep; see `toprung.tuning.run.runner.Runner`. Made an actor by the controller."""

    def __init__(
        self, sweep_id: str, spec: SweepSpec, storage_path: str, service: Service, wait_for_resources: bool
    ) -> None:
        from toprung.tuning.run.runner import Runner  # noqa: PLC0415  see the module's docstring

        self._runner = Runner(sweep_id, spec, storage_path, service, wait_for_resources)

    def outcome(self) -> tuple[SweepState, str | None]:
        """Waits for the sweep's end: its state and why. All results are acknowledged by then."""
        return self._runner.outcome()

    def stop(self, reason: str) -> None:
        """Ends the sweep: running trials are stopped, what they reported is kept."""
        self._runner.stop(reason)
