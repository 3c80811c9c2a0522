"""Workers that Ray kills because their node runs out of memory."""

from __future__ import annotations

import functools
from typing import Any

from ray.air.execution._internal import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError


def let_trials_run_out_of_memory() -> None:
    """From now on such a trial has failed. Tune 2.60 does not expect this error and ends the whole sweep with it."""
    failed = RayActorManager._actor_task_failed

    @functools.wraps(failed)
    def understood(self: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = RayActorError(error_msg=str(exception))  # what it is: the worker is gone
        failed(self, tracked_actor_task, exception)

    RayActorManager._actor_task_failed = understood
