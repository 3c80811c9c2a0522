"""The checkpoints of a sweep's trials as files, and as Ray Tune knows them."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from concurrent import futures

from ray.train._internal.session import _TrainingResult
from ray.tune import Checkpoint
from ray.tune.result import TIME_TOTAL_S, TRAINING_ITERATION

from toprung.tuning.past import Reported
from toprung.tuning.records import CheckpointRef
from toprung.tuning.run.uploads import size_of
from toprung.tuning.storage import StoredFolder

logger = logging.getLogger(__name__)

_REMOVERS = 8
"""Checkpoints that are removed at once."""
_LAST_S = 30.0
"""So long a sweep's end waits for the last of them: what a storage that is away keeps, a clean-up finds."""


class Checkpoints:
    """What lies under the storage path of a sweep.

    Args:
        storage_path: a folder that each node reaches, or a URI.
    """

    def __init__(self, storage_path: str) -> None:
        self._root = StoredFolder(storage_path)
        self._sizes: dict[str, int] = {}
        """As last seen, by path: with a store a look at each would take its time."""
        self._taken_up: dict[str, CheckpointRef] = {}

    def __contains__(self, checkpoint: CheckpointRef) -> bool:
        """Whether all of it is there: a machine that lost its power may have kept the row and not the files.

        Raises:
            OSError: the storage does not say.
        """
        folder = StoredFolder(checkpoint.path)
        size = self._sizes.get(folder.path)
        if size is None:
            if not folder.exists():
                return False
            size = folder.size_bytes()
        return checkpoint.size_bytes in (None, size)

    def remove(self, checkpoint: CheckpointRef) -> None:
        """Deletes it; one that is gone is no error."""
        _delete(StoredFolder(checkpoint.path))

    def tidy(self, sweep_id: str, known: Mapping[int, Iterable[CheckpointRef]]) -> None:
        """Deletes what trials saved and the store does not name, or no longer: who wrote it, or told of it, died.

        Args:
            sweep_id: whose trials they are.
            known: by number of the trials to look at, what stays.

        Raises:
            OSError: the storage does not say what is there.
        """
        stay, sweep = _ends(known), self._root / sweep_id
        for (folder, name), size in sweep.checkpoints().items():
            checkpoint = sweep / folder / name
            if (folder, name) in stay:
                self._sizes[checkpoint.path] = size
            elif _number(folder) in known:
                _delete(checkpoint)

    def tidy_few(self, sweep_id: str, known: Mapping[int, Iterable[CheckpointRef]]) -> None:
        """The same without a look at the files of all other trials; what can't be looked at stays."""
        stay, sweep = _ends(known), self._root / sweep_id
        try:
            for folder in sweep.names():
                for name in (sweep / folder).names() if _number(folder) in known else ():
                    if name.startswith("checkpoint_") and (folder, name) not in stay:
                        _delete(sweep / folder / name)
        except Exception as error:  # as in `_delete`
            told = ", ".join(map(str, known))
            logger.warning("what trials %s of %s have left stays, it can't be looked at: %s", told, sweep, error)

    def of_tune(self, checkpoint: CheckpointRef, reported: Reported, metric: str) -> _TrainingResult:
        """As Tune restores a trial from it, with what was reported at its step."""
        value = math.nan if reported.value is None else reported.value
        metrics = {metric: value, TRAINING_ITERATION: reported.step, TIME_TOTAL_S: reported.time_total_s}
        folder = StoredFolder(checkpoint.path)
        self._taken_up[folder.path] = checkpoint
        return _TrainingResult(Checkpoint(folder.path, filesystem=folder.filesystem), metrics)

    def reference(self, saved: _TrainingResult) -> CheckpointRef:
        """Of a checkpoint that Tune knows."""
        path = saved.checkpoint.path
        if path in self._taken_up:
            return self._taken_up[path]
        inside = path.removeprefix(f"{self._root.path}/")
        step = int(saved.metrics[TRAINING_ITERATION])
        return CheckpointRef(step=step, path=str(self._root / inside), size_bytes=size_of(saved.checkpoint))


class Removals:
    """Removes what nobody needs any more; in threads of its own, for a store takes a moment for each.

    Args:
        checkpoints: where it lies.
        sweep_id: whose it is.
        last_s: how long `end` waits.
    """

    def __init__(self, checkpoints: Checkpoints, sweep_id: str, last_s: float = _LAST_S) -> None:
        self._checkpoints = checkpoints
        self._sweep_id = sweep_id
        self._last_s = last_s
        self._threads = futures.ThreadPoolExecutor(_REMOVERS, thread_name_prefix="remover")
        self._begun: set[futures.Future[None]] = set()

    def begin(self, obsolete: Iterable[CheckpointRef], torn: Mapping[int, Iterable[CheckpointRef]]) -> None:
        """
        Args:
            obsolete: what goes.
            torn: trials that may have left something without a name, and what stays of them.
        """
        self._begun = {removal for removal in self._begun if not removal.done()}
        self._begun |= {self._threads.submit(self._checkpoints.remove, checkpoint) for checkpoint in obsolete}
        if torn:
            self._begun.add(self._threads.submit(self._checkpoints.tidy_few, self._sweep_id, torn))

    def end(self) -> None:
        """Waits for what was begun, but not for ever."""
        left = futures.wait(self._begun, self._last_s).not_done
        if left:
            logger.warning(
                "%d removals of checkpoints took longer than %.0f s and are given up", len(left), self._last_s
            )
        self._threads.shutdown(wait=False, cancel_futures=True)


def folder_of(number: int, attempt: int) -> str:
    """Name of the folder of a trial's checkpoints, under that of its sweep.

    One that comes back gets a new one: Tune counts its checkpoints from 0 again.
    """
    return f"{number:06d}" if attempt == 1 else f"{number:06d}-{attempt}"


def _number(folder: str) -> int | None:
    """Of the trial whose folder it is."""
    number = folder.partition("-")[0]
    return int(number) if number.isdigit() else None


def _ends(known: Mapping[int, Iterable[CheckpointRef]]) -> set[tuple[str, ...]]:
    """Of the paths: the folder above may have been moved."""
    return {tuple(StoredFolder(ref.path).path.split("/")[-2:]) for refs in known.values() for ref in refs}


def _delete(folder: StoredFolder) -> None:
    try:
        folder.remove()
    except Exception as error:  # whatever the storage raises: a folder that stays is no reason to lose a sweep
        logger.warning("a checkpoint that nobody needs stays, it can't be removed: %s: %s", folder, error)
