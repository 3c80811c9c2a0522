"""The runner as an actor.

Whoever makes the actor loads this module. It is light, so that the controller does without Ray Tune, which takes
seconds and a hundred megabytes.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toprung.tuning.orders import Orders
    from toprung.tuning.records import SweepState
    from toprung.tuning.run.runner import Runner
    from toprung.tuning.run.service import Service

TUNE_ENV = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # a third of the driver's time; our store has the results
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a missing metric fails its trial, not the sweep
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # Tune's experiment state is not what we recover from
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "TUNE_MAX_PENDING_TRIALS_PG": "64",  # our searcher holds the sweep to its share
    "TUNE_FUNCTION_THREAD_TIMEOUT_S": "30",  # a stopped function's `finally` may take its time; 2 s by default
    "TUNE_RESULT_BUFFER_LENGTH": "2",  # Tune then asks for several results; see pace.py for how many come
    # Tune's warning of too few resources asks for the first trial, and a sweep may wait for its share without one
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "1e12",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S_AUTOSCALER": "1e12",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_TRAIN_V2_ENABLED": "0",
}
"""Environment of a runner and its trials."""


class RunnerActor:
    """Runs one sweep; see `toprung.tuning.run.runner.Runner`. Made an actor by the controller."""

    def __init__(self) -> None:
        from toprung.tuning.run import runner  # noqa: PLC0415  see the module's docstring

        self._runner_class = runner.Runner
        self._runner: Runner | None = None
        self._taking_up = threading.Lock()
        self._taken_up = threading.Event()

    def wait_for_sweep(self) -> None:
        """For a spare: loads what else a sweep may need, and has the worker of its first trial started."""
        from toprung.tuning.run import spare  # noqa: PLC0415

        spare.prepare_runner()
        with self._taking_up:
            if self._runner is None:
                spare.start_worker()

    def run(
        self,
        sweep_id: str,
        orders: Orders,
        storage_path: str,
        service: Service,
        wait_for_resources: bool,
        grows: bool,
        code: bytes | None = None,
    ) -> None:
        """Begins the sweep. The second call changes nothing: a controller that comes back doesn't know of the first.

        Args:
            code: for a spare: the sweep's package, a zip file; other runners were started in it.
        """
        from toprung.tuning.run import spare  # noqa: PLC0415

        with self._taking_up:
            if self._runner is None:
                spare.move_in(code)
                self._runner = self._runner_class(sweep_id, orders, storage_path, service, wait_for_resources, grows)
                self._taken_up.set()

    def outcome(self) -> tuple[SweepState, str | None, int]:
        """Waits for the sweep's end: its state, why, the revision that it was served up to. All is acknowledged."""
        return self._present().outcome()

    def direct(self, orders: Orders) -> None:
        """What is wanted of the sweep from now on."""
        self._present().direct(orders)

    def stop(self, reason: str) -> None:
        """Ends the sweep: running trials are stopped, what they reported is kept."""
        self._present().stop(reason)

    def pause(self) -> None:
        """Ends the runner, not the sweep: what runs stops, to go on in another runner later."""
        self._present().pause()

    def _present(self) -> Runner:
        self._taken_up.wait()
        assert self._runner is not None
        return self._runner
