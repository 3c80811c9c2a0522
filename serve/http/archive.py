"""A folder as a tar that is made while it is sent."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toprung.errors import Conflict, NotFound

_BLOCK = tarfile.BLOCKSIZE
_CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path | None
    """None: a folder."""
    header: bytes
    size: int


class Archive:
    """The folder's files as they are now, with the exact size of the tar."""

    def __init__(self, folder: Path) -> None:
        """Look at every file, read none.

        Raises:
            NotFound: the folder is gone.
            Conflict: a link leads out of it.
        """
        root = folder.resolve()
        try:
            self._entries = [_entry(path, root) for path in sorted(_walk(root))]
        except FileNotFoundError:
            raise NotFound("The checkpoint is no longer kept.") from None
        self.size_bytes = sum(len(entry.header) + _padded(entry.size) for entry in self._entries) + 2 * _BLOCK

    def __iter__(self) -> Iterator[bytes]:
        """The tar. Breaks off with an OSError where a file has changed since: half a checkpoint must not look whole."""
        for entry in self._entries:
            yield entry.header
            if entry.path is not None:
                yield from _content(entry.path, entry.size)
                yield bytes(_padded(entry.size) - entry.size)
        yield bytes(2 * _BLOCK)


def checkpoint_folder(home: Path, path: str) -> Path:
    """The folder of a checkpoint, which lies under the home's runs.

    Raises:
        NotFound: it does not, or is gone.
    """
    folder = (home / path).resolve()  # an absolute path stays what it is
    runs = (home / "runs").resolve()
    if folder == runs or not folder.is_relative_to(runs) or not folder.is_dir():
        raise NotFound("The checkpoint is no longer kept.")
    return folder


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
    info = tarfile.TarInfo(path.relative_to(root).as_posix())
    status = target.stat()
    info.mtime = int(status.st_mtime)
    if target.is_dir():
        info.type, info.mode = tarfile.DIRTYPE, 0o755
        return _Entry(None, _header(info), 0)
    info.size, info.mode = status.st_size, 0o644
    return _Entry(target, _header(info), info.size)


def _header(info: tarfile.TarInfo) -> bytes:
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _content(path: Path, size: int) -> Iterator[bytes]:
    left = size
    with path.open("rb") as file:
        while left:
            data = file.read(min(left, _CHUNK_BYTES))
            if not data:
                raise OSError(f"{path} has become shorter while it was sent")
            left -= len(data)
            yield data


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK
