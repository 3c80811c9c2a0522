"""Ray Tune's own state of a sweep, which nobody goes by: ours is in the store. With a bucket each file of it takes a
request or more, when the sweep's trials are over and somebody waits for its end.
"""

from __future__ import annotations

import functools
from typing import Any

from ray.train._internal.storage import _FilesystemSyncer
from ray.tune import ExperimentAnalysis
from ray.tune.experiment import trial

_IN_FOLDERS = ["*/", "*/*"]


def keep_little_of_tunes_state() -> None:
    """From now on Tune writes what it must to the storage, nothing for each trial, and reads no results from there."""
    upload = _FilesystemSyncer._sync_up_command

    @functools.wraps(upload)
    def upload_little(self: Any, local_path: str, uri: str, exclude: list[str] | None = None) -> Any:
        return upload(self, local_path, uri, [*(exclude or ()), *_IN_FOLDERS])

    _FilesystemSyncer._sync_up_command = upload_little
    ExperimentAnalysis._fetch_trial_dataframes = lambda _: {}


def know_trainables() -> None:
    """From now on Tune asks the cluster once for what a sweep trains, not for each trial: a fifth of a trial's cost."""
    trial.get_trainable_cls = functools.cache(trial.get_trainable_cls)
