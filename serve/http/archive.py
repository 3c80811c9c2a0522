"""A folder as a tar that is made while it is sent."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from toprung.errors import Conflict, NotFound
from toprung.serve.storage import Place
from toprung.tuning.storage import StoredFolder

_GONE = "The checkpoint is no longer kept."
_BLOCK = tarfile.BLOCKSIZE
_CHUNK_BYTES = 256 * 1024
_REQUEST_BYTES = 8 * 1024 * 1024
"""Read from a store at once, and held in memory until it is sent."""


@dataclass(frozen=True, slots=True)
class _Entry:
    header: bytes
    size: int = 0
    open: Callable[[], AbstractContextManager[Any]] | None = None
    """None: a folder."""
    name: str = ""


class Archive:
    """The folder's files as they are now, with the exact size of the tar."""

    def __init__(self, folder: Place, content_bytes: int | None = None) -> None:
        """Look at every file, read none.

        Args:
            folder: what is sent.
            content_bytes: of all its files; None: not known.

        Raises:
            NotFound: the folder is gone, or a part of it.
            Conflict: a link leads out of it.
            OSError: the storage does not answer.
        """
        if isinstance(folder, StoredFolder):
            self._entries = [_stored(info, folder) for info in sorted(folder.below(), key=lambda info: str(info.path))]
        else:
            root = folder.resolve()
            try:
                self._entries = [_entry(path, root) for path in sorted(_walk(root))]
            except FileNotFoundError:
                raise NotFound(_GONE) from None
        if content_bytes not in (None, sum(entry.size for entry in self._entries)):
            raise NotFound(_GONE)  # it is being removed
        self.size_bytes = sum(len(entry.header) + _padded(entry.size) for entry in self._entries) + 2 * _BLOCK

    def __iter__(self) -> Iterator[bytes]:
        """The tar. Breaks off with an OSError where a file has changed since: half a checkpoint must not look whole."""
        for entry in self._entries:
            yield entry.header
            if entry.open is not None:
                with entry.open() as file:
                    yield from _content(file, entry)
                yield bytes(_padded(entry.size) - entry.size)
        yield bytes(2 * _BLOCK)


def _stored(info: Any, folder: StoredFolder) -> _Entry:
    """Of a file or folder in a store, which has no links."""
    name = info.path.removeprefix(f"{folder.path}/")
    if not info.is_file:
        return _Entry(_header(_info(name, None)))
    # each read of a store is a request
    opened = partial(folder.filesystem.open_input_stream, info.path, buffer_size=_REQUEST_BYTES)
    return _Entry(_header(_info(name, info.size, info.mtime.timestamp())), info.size, opened, info.path)


def _walk(root: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(root, onerror=_raise):
        yield from (Path(folder, name) for name in (*folders, *files))


def _raise(error: OSError) -> None:
    raise error


def _entry(path: Path, root: Path) -> _Entry:
    target = path
    if path.is_symlink():
        target = path.resolve()
        if not target.is_relative_to(root) or not target.is_file():
            raise Conflict(
                f"The checkpoint holds {path.relative_to(root).as_posix()!r}, a link that leads out of it or to no "
                "file, so it is not sent. Let the trainable copy the file into the checkpoint."
            )
    name, status = path.relative_to(root).as_posix(), target.stat()
    if target.is_dir():
        return _Entry(_header(_info(name, None, status.st_mtime)))
    return _Entry(
        _header(_info(name, status.st_size, status.st_mtime)), status.st_size, partial(target.open, "rb"), str(target)
    )


def _info(name: str, size: int | None, mtime: float = 0.0) -> tarfile.TarInfo:
    """Of a file, or without a size of a folder."""
    info = tarfile.TarInfo(name)
    info.mtime = int(mtime)
    if size is None:
        info.type, info.mode = tarfile.DIRTYPE, 0o755
    else:
        info.size, info.mode = size, 0o644
    return info


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _content(file: Any, entry: _Entry) -> Iterator[bytes]:
    left = entry.size
    while left:
        data = file.read(min(left, _CHUNK_BYTES))
        if not data:
            raise OSError(f"{entry.name} has become shorter while it was sent")
        left -= len(data)
        yield data


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
