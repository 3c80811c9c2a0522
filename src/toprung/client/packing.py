"""A code folder as a zip that is the same, byte by byte, for the same files: its hash names it on the service."""

from __future__ import annotations

import hashlib
import os
import stat
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toprung.client.ignore import IgnoreRules
from toprung.errors import InvalidInput, TooLarge

MAX_PACKAGE_BYTES = 100 * 1024 * 1024
"""What the service takes."""

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can hold
_CHUNK_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class CodeFile:
    """A file of the folder that goes into the package."""

    name: str
    """Relative to the folder, "/" between the parts."""
    path: Path
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Package:
    """A zip on disk."""

    path: Path
    sha256: str
    size_bytes: int


def code_files(folder: Path) -> list[CodeFile]:
    """What of `folder` goes into its package, sorted by name.

    Raises:
        InvalidInput: it is no folder, a file can't be read, a link is broken or leads out of the folder.
    """
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise InvalidInput(f"The code folder {folder} {what}.")
    root = folder.resolve()
    try:
        return sorted(_walk(root, "", IgnoreRules.of(root), (root,)), key=lambda file: file.name)
    except OSError as error:
        raise InvalidInput(f"{error.filename} in the code folder can't be read: {error.strerror}.") from error


def pack(files: list[CodeFile], target: Path, *, max_bytes: int = MAX_PACKAGE_BYTES) -> Package:
    """Write `files` to the zip `target`.

    Raises:
        TooLarge: the zip would be larger than `max_bytes`; names the largest files.
        InvalidInput: a file can't be read.
    """
    try:
        with target.open("wb") as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            for file in files:
                for _ in _add(archive, file):
                    if raw.tell() > max_bytes:  # looked at often: nobody waits until 50 GB are compressed
                        raise _too_large(files, max_bytes)
    except OSError as error:
        raise InvalidInput(f"The code could not be packed: {error}.") from error
    size_bytes = target.stat().st_size
    if size_bytes > max_bytes:
        raise _too_large(files, max_bytes)
    with target.open("rb") as packed:
        return Package(target, hashlib.file_digest(packed, "sha256").hexdigest(), size_bytes)


def _walk(folder: Path, prefix: str, rules: IgnoreRules, inside: tuple[Path, ...]) -> Iterator[CodeFile]:
    """`inside`: the real folders from the root down to this one."""
    with os.scandir(folder) as entries:
        found = list(entries)
    for entry in found:
        name, path = prefix + entry.name, Path(entry.path)
        is_folder = path.is_dir()  # entry.is_dir() raises on a link to itself
        if rules.ignores(name, is_folder=is_folder):
            continue
        if entry.is_symlink():
            _check_link(name, path, inside)
        if is_folder:
            if not (path / "pyvenv.cfg").exists():  # a virtual environment of any name
                yield from _walk(path, name + "/", rules, (*inside, path.resolve()))
        elif entry.is_file():
            yield CodeFile(name, path, entry.stat().st_size)


def _check_link(name: str, path: Path, inside: tuple[Path, ...]) -> None:
    remedy = "Replace it by a copy, or list it in .toprungignore."
    if not path.exists():
        raise InvalidInput(f"{name} in the code folder is a broken link. {remedy}")
    target = path.resolve()
    if not target.is_relative_to(inside[0]):
        raise InvalidInput(f"{name} in the code folder is a link to {target}, outside the folder. {remedy}")
    if target in inside:
        raise InvalidInput(f"{name} in the code folder is a link to a folder that it is in. {remedy}")


def _add(archive: zipfile.ZipFile, file: CodeFile) -> Iterator[int]:
    """Yields after each chunk."""
    info = zipfile.ZipInfo(file.name, _EPOCH)
    info.file_size = file.size_bytes  # so that zipfile chooses the 64-bit format where it must
    info.create_system = 3  # Unix, wherever this runs
    info.compress_type = zipfile.ZIP_DEFLATED
    executable = file.path.stat().st_mode & stat.S_IXUSR
    info.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
    with file.path.open("rb") as source, archive.open(info, "w") as entry:
        while chunk := source.read(_CHUNK_BYTES):
            yield entry.write(chunk)


def _too_large(files: list[CodeFile], max_bytes: int) -> TooLarge:
    largest = sorted(files, key=lambda file: file.size_bytes, reverse=True)[:3]
    named = ", ".join(f"{file.name} ({file.size_bytes / 2**20:,.1f} MiB)" for file in largest)
    return TooLarge(
        f"The code folder is more than {max_bytes / 2**20:,.0f} MiB when packed. The largest files: {named}. "
        "List what the training doesn't import in .toprungignore, and keep data outside the folder."
    )
