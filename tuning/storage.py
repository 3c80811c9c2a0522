"""Where checkpoints lie: in a folder that all machines share, or in an object store.

`pyarrow.fs` does the work, as in Ray Tune. It is loaded by what needs it: reading the settings does not.
"""

from __future__ import annotations

import functools
import re
import secrets
from pathlib import Path
from typing import Any

from toprung.errors import InvalidInput

SCHEMES = ("s3", "gs")
_KINDS = "s3://bucket/folder, gs://bucket/folder, or the absolute path of a folder that all machines share"
_PLAIN = re.compile(r"[\w.=-]+(/[\w.=-]+)*", re.ASCII)
"""What means the same in a URI as in a file system's path."""
_REMEDIES = (
    (("NO_SUCH_BUCKET", "not found"), "Make the bucket, or correct its name."),
    (
        ("ACCESS_DENIED", "INVALID_ACCESS_KEY_ID", "SIGNATURE_DOES_NOT_MATCH", "HTTP status 403", "Permission denied"),
        "Whoever starts Ray and the service must be allowed to list, read, write and delete there: by the role of the "
        "machine, or by keys in the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY).",
    ),
    (("NETWORK_CONNECTION",), "Correct the address of the store (AWS_ENDPOINT_URL, ?endpoint_override=), or start it."),
)


def is_remote(path: str) -> bool:
    """Whether it is in an object store, and no path of this machine."""
    return "://" in path


def checked(setting: str) -> str:
    """A place for checkpoints as it was set, without a slash at its end.

    Raises:
        ValueError: it can't be one.
    """
    scheme, _, rest = setting.rpartition("://")
    if not scheme:
        if not Path(setting).is_absolute():
            raise ValueError(f"{setting} is no absolute path. Write {_KINDS}")
        return str(Path(setting))
    if scheme not in SCHEMES:
        raise ValueError(f"{scheme}:// is not known. Write {_KINDS}")
    path, mark, options = rest.partition("?")
    if "@" in path:
        raise ValueError("a key has no place here. Put it into the environment, or give the machines a role")
    path = path.rstrip("/")
    if not _PLAIN.fullmatch(path):
        raise ValueError(f"{scheme}://{path} must name a bucket, with letters, digits and ._-= alone. Write {_KINDS}")
    return f"{scheme}://{path}{mark}{options}"


def probe(storage: str) -> None:
    """Writes a small file there, reads it and removes it.

    Args:
        storage: a result of `checked`.

    Raises:
        InvalidInput: that doesn't work; says why, and what to do.
    """
    if not is_remote(storage) and not Path(storage).is_dir():
        raise InvalidInput(f"storage: {storage} is no folder. Make it, or mount what all machines share there.")
    folder, said = StoredFolder(storage), secrets.token_hex(8).encode()
    path = f"{folder.path}/.toprung-probe-{secrets.token_hex(4)}"
    try:
        with folder.filesystem.open_output_stream(path) as file:
            file.write(said)
        with folder.filesystem.open_input_stream(path) as file:
            heard = file.read()
        folder.filesystem.delete_file(path)
    except (OSError, ValueError) as error:  # pyarrow's own for what a URI says is a ValueError
        raise InvalidInput(f"storage: {storage} can't be used: {error}. {_remedy(str(error))}".rstrip()) from error
    if heard != said:
        raise InvalidInput(f"storage: {storage} can't be used: what is read there is not what was written.")


def _remedy(error: str) -> str:
    return next((remedy for words, remedy in _REMEDIES if any(word in error for word in words)), "")


class StoredFolder:
    """A folder on any of pyarrow's file systems.

    All that asks the file system raises an OSError where that fails.

    Args:
        uri: a path, or the URI of a folder in a bucket. What it says after `?` holds for all below.
    """

    def __init__(self, uri: str) -> None:
        self._base, self._mark, self._options = uri.partition("?") if is_remote(uri) else (uri, "", "")

    def __truediv__(self, name: str) -> StoredFolder:
        return StoredFolder(f"{self._base}/{name}{self._mark}{self._options}")

    def __str__(self) -> str:
        return f"{self._base}{self._mark}{self._options}"

    @property
    def name(self) -> str:
        return self._base.rpartition("/")[2]

    @property
    def path(self) -> str:
        """On its file system."""
        return self._base.partition("://")[2] if is_remote(self._base) else self._base

    @property
    def filesystem(self) -> Any:
        scheme, _, path = self._base.rpartition("://")
        bucket = path.partition("/")[0]
        return _filesystem(f"{scheme}://{bucket}{self._mark}{self._options}" if scheme else "/")

    def exists(self) -> bool:
        return bool(self.filesystem.get_file_info(self.path).type.name == "Directory")

    def below(self) -> list[Any]:
        """All files and folders in it and in its folders, as `pyarrow.fs.FileInfo`; none where it isn't there."""
        return list(self.filesystem.get_file_info(_selector(self.path, recursive=True)))

    def names(self) -> list[str]:
        """Of what lies in it; none where it isn't there."""
        return sorted(info.base_name for info in self.filesystem.get_file_info(_selector(self.path, recursive=False)))

    def checkpoints(self) -> dict[tuple[str, str], int]:
        """Bytes of what the trials of the sweep have saved in it, by the names of the trial's folder and its own.

        Ray Tune gives the latter, `toprung.tuning.run.checkpoints.folder_of` the former.
        """
        found: dict[tuple[str, str], int] = {}
        for info in self.below():
            trial, _, rest = info.path.removeprefix(f"{self.path}/").partition("/")
            name = rest.partition("/")[0]
            if trial[0].isdigit() and name.startswith("checkpoint_"):
                found[trial, name] = found.get((trial, name), 0) + (info.size if info.is_file else 0)
        return found

    def size_bytes(self) -> int:
        """Of all files in it, and in its folders."""
        return size_on(self.filesystem, self.path)

    def download(self, target: str) -> None:
        """Copies all that is in it into a folder of this machine."""
        from pyarrow import fs  # noqa: PLC0415  see the module's docstring

        fs.copy_files(self.path, target, self.filesystem, fs.LocalFileSystem())

    def remove(self) -> None:
        """Removes it with all that is in it. One that is gone is no error."""
        try:
            self.filesystem.delete_dir(self.path)
        except FileNotFoundError:
            return


def size_on(filesystem: Any, path: str) -> int:
    """Bytes of all files below a path of pyarrow's file system."""
    return sum(info.size for info in filesystem.get_file_info(_selector(path, recursive=True)) if info.is_file)


@functools.lru_cache
def _filesystem(root: str) -> Any:
    from pyarrow import fs  # noqa: PLC0415  see the module's docstring

    return fs.FileSystem.from_uri(root)[0]


def _selector(path: str, *, recursive: bool) -> Any:
    from pyarrow import fs  # noqa: PLC0415  see the module's docstring

    return fs.FileSelector(path, allow_not_found=True, recursive=recursive)
