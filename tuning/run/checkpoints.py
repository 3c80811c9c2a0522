"""The checkpoints of a sweep's trials as files, and as Ray Tune knows them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from typing import Any

from ray.train._internal.session import _TrainingResult
from ray.train._internal.storage import _list_at_fs_path, get_fs_and_path
from ray.tune import Checkpoint
from ray.tune.result import TIME_TOTAL_S, TRAINING_ITERATION

from toprung.tuning.past import Reported
from toprung.tuning.records import CheckpointRef

logger = logging.getLogger(__name__)


class Checkpoints:
    """What lies under the storage path.

    Args:
        storage_path: a folder that each node reaches, or a URI.
    """

    def __init__(self, storage_path: str) -> None:
        self._filesystem: Any
        self._filesystem, self._root = get_fs_and_path(storage_path)

    def __contains__(self, checkpoint: CheckpointRef) -> bool:
        return bool(self._filesystem.get_file_info(checkpoint.path).type.name == "Directory")

    def remove(self, checkpoint: CheckpointRef) -> None:
        """Deletes it; one that is gone is no error."""
        self._delete(checkpoint.path)

    def remove_unknown(self, sweep_id: str, known: Mapping[int, Iterable[CheckpointRef]]) -> None:
        """Deletes what trials saved and the store does not name, or no longer: their runner died in between.

        Args:
            sweep_id: whose trials they are.
            known: by number of the trials to look at, what stays.
        """
        # by the ends of their paths: the folder above may have been moved
        stay = {number: {tuple(ref.path.split("/")[-2:]) for ref in refs} for number, refs in known.items()}
        sweep = f"{self._root}/{sweep_id}"
        for folder in _list_at_fs_path(self._filesystem, sweep):
            number = folder.partition("-")[0]
            if not number.isdigit() or int(number) not in stay:
                continue
            for name in _list_at_fs_path(self._filesystem, f"{sweep}/{folder}"):
                if name.startswith("checkpoint_") and (folder, name) not in stay[int(number)]:
                    self._delete(f"{sweep}/{folder}/{name}")

    def _delete(self, path: str) -> None:
        try:
            self._filesystem.delete_dir(path)
        except FileNotFoundError:
            return
        except Exception as error:  # whatever the storage raises: a folder that stays is no reason to lose a sweep
            logger.warning("a checkpoint that nobody needs stays, it can't be removed: %s: %s", path, error)

    def of_tune(self, checkpoint: CheckpointRef, reported: Reported, metric: str) -> _TrainingResult:
        """As Tune restores a trial from it, with what was reported at its step."""
        value = math.nan if reported.value is None else reported.value
        metrics = {metric: value, TRAINING_ITERATION: reported.step, TIME_TOTAL_S: reported.time_total_s}
        return _TrainingResult(Checkpoint(checkpoint.path, filesystem=self._filesystem), metrics)


def folder_of(number: int, attempt: int) -> str:
    """Name of the folder of a trial's checkpoints, under that of its sweep.

    One that comes back gets a new one: Tune counts its checkpoints from 0 again.
    """
    return f"{number:06d}" if attempt == 1 else f"{number:06d}-{attempt}"


def reference(saved: _TrainingResult) -> CheckpointRef:
    """Of a checkpoint that Tune knows."""
    return CheckpointRef(step=int(saved.metrics[TRAINING_ITERATION]), path=saved.checkpoint.path)
