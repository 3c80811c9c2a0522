"""Uploaded code: zip files known by the SHA-256 of their bytes."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tempfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path, PurePosixPath

from pydantic import BaseModel

from toprung.errors import Malformed, NotFound, TooLarge
from toprung.serve.home import Home

MAX_BYTES = 100 * 1024 * 1024
_MAX_ENTRIES = 20_000
_MAX_UNPACKED_BYTES = 1024 * 1024 * 1024
_SHA256 = re.compile(r"^[0-9a-f]{64}$")


class Package(BaseModel):
    """An uploaded package."""

    sha256: str
    size_bytes: int


class Packages:
    """The packages under a home folder."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def get(self, sha256: str) -> Package:
        """What is known of a package.

        Raises:
            NotFound: it was never uploaded.
        """
        path = self._path(sha256)
        if not path.exists():
            raise NotFound(f"no package {sha256}; upload it with PUT /v1/packages/{sha256}")
        return Package(sha256=sha256, size_bytes=path.stat().st_size)

    def has(self, sha256: str) -> bool:
        return self._path(sha256).exists()

    async def put(self, sha256: str, chunks: AsyncIterator[bytes]) -> Package:
        """Takes a package: all of it, checked and on disk, or nothing.

        Raises:
            Malformed: the bytes have another digest, are no zip file, or hold a path that leaves the folder.
            TooLarge: they unpack to more than 1 GiB or 20,000 files.
        """
        path = self._path(sha256)
        descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=".upload-")
        try:
            digest = hashlib.sha256()
            with os.fdopen(descriptor, "wb") as file:
                async for chunk in chunks:
                    digest.update(chunk)
                    file.write(chunk)
                file.flush()
                os.fsync(file.fileno())
            if digest.hexdigest() != sha256:
                raise Malformed(f"the body's sha256 is {digest.hexdigest()}, the URL says {sha256}")
            _check(Path(draft))
            os.replace(draft, path)
        finally:
            Path(draft).unlink(missing_ok=True)
        return self.get(sha256)

    def _path(self, sha256: str) -> Path:
        if not _SHA256.match(sha256):
            raise Malformed(f"{sha256[:80]!r} is not a sha256: 64 small hexadecimal digits")
        return self._home.package(sha256)


def _check(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise Malformed(f"the body is not a zip file: {error}") from error
    if len(entries) > _MAX_ENTRIES or sum(entry.file_size for entry in entries) > _MAX_UNPACKED_BYTES:
        raise TooLarge("the package unpacks to more than 20,000 files or 1 GiB; leave data out of the code folder")
    for entry in entries:
        name = PurePosixPath(entry.filename.replace("\\", "/"))
        if name.is_absolute() or ".." in name.parts or re.match(r"^[A-Za-z]:", entry.filename):
            raise Malformed(f"the package has a path that leaves its folder: {entry.filename[:200]!r}")
        if stat.S_ISLNK(entry.external_attr >> 16):
            raise Malformed(f"the package has a link: {entry.filename[:200]!r}; links are not unpacked")
