"""The checkpoints of a sweep's trials as files, and as Ray Tune knows them."""

from __future__ import annotations

import math
from typing import Any

from ray.train._internal.session import _TrainingResult
from ray.train._internal.storage import get_fs_and_path
from ray.tune import Checkpoint
from ray.tune.result import TIME_TOTAL_S, TRAINING_ITERATION

from toprung.tuning.past import Reported
from toprung.tuning.records import CheckpointRef


class Checkpoints:
    """What lies under the storage path.

    Args:
        storage_path: a folder that each node reaches, or a URI.
    """

    def __init__(self, storage_path: str) -> None:
        self._filesystem: Any = get_fs_and_path(storage_path)[0]

    def __contains__(self, checkpoint: CheckpointRef) -> bool:
        return bool(self._filesystem.get_file_info(checkpoint.path).type.name == "Directory")

    def remove(self, checkpoint: CheckpointRef) -> None:
        """Deletes it; one that is gone is no error."""
        if checkpoint in self:
            self._filesystem.delete_dir(checkpoint.path)

    def of_tune(self, checkpoint: CheckpointRef, reported: Reported, metric: str) -> _TrainingResult:
        """As Tune restores a trial from it, with what was reported at its step."""
        value = math.nan if reported.value is None else reported.value
        metrics = {metric: value, TRAINING_ITERATION: reported.step, TIME_TOTAL_S: reported.time_total_s}
        return _TrainingResult(Checkpoint(checkpoint.path, filesystem=self._filesystem), metrics)


def reference(saved: _TrainingResult) -> CheckpointRef:
    """Of a checkpoint that Tune knows."""
    return CheckpointRef(step=int(saved.metrics[TRAINING_ITERATION]), path=saved.checkpoint.path)
