"""Uploaded code: zip files named by their SHA-256, written once and never changed."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import os
import stat
import tempfile
import time
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from pydantic import Field

from toprung.errors import InternalError, Malformed, Problem, TooLarge, Unavailable
from toprung.tuning.records import Record

MAX_PACKAGE_BYTES = 100 * 1024 * 1024
MAX_ENTRIES = 20_000
MAX_UNPACKED_BYTES = 1024**3

_DRAFT = ".upload-"
_STALE_S = 24 * 3600
_BUFFER_BYTES = 1024 * 1024


class Package(Record):
    """An uploaded package."""

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int


class PackageStore:
    """The packages in a folder. Several processes may write to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for draft in folder.glob(f"{_DRAFT}*"):  # of a process that was killed in the middle
            with contextlib.suppress(OSError):
                if draft.stat().st_mtime < time.time() - _STALE_S:
                    draft.unlink()

    def find(self, sha256: str) -> Package | None:
        """The package, if it has been uploaded.

        Its time is set to now: who asks is about to submit it, and a clean-up takes only what nobody asked for lately.
        """
        path = self._path(sha256)
        try:
            with contextlib.suppress(OSError):  # another user's, say; or it is not there, as the next line finds
                os.utime(path)
            return Package(sha256=sha256, size_bytes=path.stat().st_size)
        except FileNotFoundError:
            return None

    async def add(self, sha256: str, body: AsyncIterator[bytes]) -> tuple[Package, bool]:
        """Keep `body`; it is on disk when this returns.

        Returns:
            The package, and whether it is new.

        Raises:
            Malformed: the body has another hash, is no zip, or its names lead out of the folder it is unpacked in.
            TooLarge: it would unpack to too many files or bytes.
            Unavailable: the disk is full.
        """
        try:
            descriptor, name = tempfile.mkstemp(prefix=_DRAFT, dir=self._folder)
            draft = Path(name)
            try:
                with os.fdopen(descriptor, "wb") as file:
                    found = await _spool(body, file)
                    if found != sha256:
                        raise _wrong("sha256_mismatch", f"the body's SHA-256 is {found}: was it sent whole?")
                    await asyncio.to_thread(_check, draft)
                    return await asyncio.to_thread(self._commit, draft, file, sha256)
            finally:
                draft.unlink(missing_ok=True)
        except OSError as error:
            raise _disk_trouble(error, self._folder) from error

    def _commit(self, draft: Path, file: BinaryIO, sha256: str) -> tuple[Package, bool]:
        if (present := self.find(sha256)) is not None:
            return present, False
        os.fsync(file.fileno())
        draft.replace(self._path(sha256))
        folder = os.open(self._folder, os.O_RDONLY)  # the name must be on disk too
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        package = self.find(sha256)
        assert package is not None, "it was put there just now"
        return package, True

    def _path(self, sha256: str) -> Path:
        return self._folder / f"{sha256}.zip"


async def _spool(body: AsyncIterator[bytes], file: BinaryIO) -> str:
    """Write `body` to `file` beside the event loop. Returns its SHA-256."""
    digest = hashlib.sha256()

    def write(data: bytes) -> None:
        digest.update(data)
        file.write(data)

    pending = bytearray()
    async for chunk in body:
        pending += chunk
        if len(pending) >= _BUFFER_BYTES:
            await asyncio.to_thread(write, bytes(pending))
            pending.clear()
    await asyncio.to_thread(write, bytes(pending))
    await asyncio.to_thread(file.flush)
    return digest.hexdigest()


def _check(path: Path) -> None:
    """That unpacking it does no harm.

    Raises:
        Malformed: it may.
        TooLarge: it has too many files or bytes.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise _wrong("not_a_zip", f"the body is not a zip: {error}") from None
    if len(entries) > MAX_ENTRIES:
        raise TooLarge(f"A package may have at most {MAX_ENTRIES:,} files, this one has {len(entries):,}.")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > MAX_UNPACKED_BYTES:
        raise TooLarge(f"A package may unpack to at most 1 GiB, this one says {unpacked / 2**30:.1f} GiB.")
    for entry in entries:
        _check_entry(entry)


def _check_entry(entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename  # as it was sent: zipfile cuts names at a NUL
    shown = repr(name[:200])
    if not entry.filename or "\0" in name or "\\" in name or name.startswith("/") or ":" in name.split("/")[0]:
        raise _wrong("unsafe_path", f"the entry {shown} is not a plain relative path")
    if ".." in PurePosixPath(name).parts:
        raise _wrong("unsafe_path", f"the entry {shown} leads out of the package")
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _wrong("link", f"the entry {shown} is a link or a device; packages hold plain files")
    if entry.flag_bits & 1:
        raise _wrong("encrypted", f"the entry {shown} is encrypted")


def _wrong(code: str, message: str) -> Malformed:
    return Malformed(f"The package was refused: {message}.", problems=[Problem("", code, message)])


def _disk_trouble(error: OSError, folder: Path) -> Unavailable | InternalError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable(f"The disk of {folder} is full. Free some space and try again; nothing was kept.")
    return InternalError(f"The package could not be written to {folder}: {error.strerror}.")
