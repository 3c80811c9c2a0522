"""How a trial's worker writes a checkpoint to the storage: all of it, or nothing that counts.

It is written to a folder of its own, to which nothing else is ever written. It counts from the moment when the store
names it: that is after the worker has told of it, which it does once all is written. What an upload leaves that was
broken off has no name in the store, so no trial goes on from it, and whoever tidies removes it (docs/storage.md).
"""

from __future__ import annotations

import contextlib
import secrets

from ray.train._internal.storage import StorageContext, _pyarrow_fs_copy_files
from ray.tune import Checkpoint

from toprung.tuning.storage import size_on

_SIZE = "toprung_size_bytes"
"""The attribute with which Tune's checkpoint carries its size from the worker to the runner."""


def let_uploads_be_whole() -> None:
    """From now on a trial in this process saves each checkpoint in a new folder, and says how large it is there.

    Tune would give it the name of the last one where that was broken off, and mix the files of both.
    """
    StorageContext.persist_current_checkpoint = _upload


def size_of(checkpoint: Checkpoint) -> int | None:
    """Bytes of one that was written so."""
    return getattr(checkpoint, _SIZE, None)


def _upload(self: StorageContext, checkpoint: Checkpoint) -> Checkpoint:
    self._check_validation_file()  # fails on a machine that doesn't see the storage, and says so
    filesystem, path = self.storage_filesystem, f"{self.checkpoint_fs_path}-{secrets.token_hex(4)}"
    try:
        filesystem.create_dir(path)
        _pyarrow_fs_copy_files(checkpoint.path, path, checkpoint.filesystem, filesystem)
    except OSError:  # a full disk, say, which it would keep full
        with contextlib.suppress(OSError):
            filesystem.delete_dir(path)
        raise
    written = type(checkpoint)(path, filesystem=filesystem)
    setattr(written, _SIZE, size_on(filesystem, path))
    return written
