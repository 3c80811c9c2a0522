"""Where the files of sweeps are, in the home and in the storage of checkpoints, how large they are, and how they go."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from toprung.serve.home import Home
from toprung.serve.storage import Place
from toprung.serve.store import KnownSweep
from toprung.serve.store.ids import ALPHABET
from toprung.serve.tracking.sink import folder_name
from toprung.tuning.garbage import FileKind, Files
from toprung.tuning.records import Sweep
from toprung.tuning.storage import StoredFolder

_SHOWN = 100
_ID = re.compile(rf"(swp_[{ALPHABET}]{{26}})")
_TENSORBOARD = re.compile(rf".+-[{ALPHABET}]{{6}}")
"""See `folder_name`."""
_WANDB = re.compile(rf"(?:offline-)?run-\d{{8}}_\d{{6}}-{_ID.pattern}(?:-\d+)?")
"""W&B's name for the folder of a run: whether it is online, when it began, its id."""


def files_of(home: Home, sweep: Sweep | KnownSweep) -> dict[FileKind, list[Place]]:
    """The files and folders that are a sweep's alone, by kind; those that are there.

    Raises:
        OSError: the storage does not answer.
    """
    places: dict[FileKind, list[Place]] = {
        FileKind.CHECKPOINTS: home.storage.of_sweep(sweep.id),
        FileKind.LOGS: [home.logs / sweep.id],
        FileKind.TENSORBOARD: [home.tensorboard / folder_name(sweep), home.path / "summaries" / sweep.id],
        FileKind.WANDB: [path for path in _listed(home.wandb_runs) if _owner(path) == sweep.id],
    }
    return {kind: there for kind, paths in places.items() if (there := [path for path in paths if path.exists()])}


class SweepFolders:
    """All that lies in the home and has the name of a sweep's folder. What has another name is none of ours.

    Not what lies in a storage of checkpoints elsewhere: another service may have its sweeps there.
    """

    def __init__(self, home: Home) -> None:
        rooms = (home.runs, home.logs, home.path / "summaries", home.wandb_runs)
        self._by_id = {path: owner for room in rooms for path in _listed(room) if (owner := _owner(path))}
        self._by_name = {path: path.name for path in _listed(home.tensorboard) if _TENSORBOARD.fullmatch(path.name)}

    def without(self, known: Iterable[KnownSweep]) -> Iterator[Path]:
        """Those of other sweeps than these."""
        ids, names = set(), set()
        for sweep in known:
            ids.add(sweep.id)
            names.add(folder_name(sweep))
        yield from (path for path, sweep_id in self._by_id.items() if sweep_id not in ids)
        yield from (path for path, name in self._by_name.items() if name not in names)


def checkpoints_in(folder: Place) -> Iterator[tuple[Place, tuple[str, str]]]:
    """The checkpoints in the folder of a sweep, with the names of the trial's folder and their own.

    Tune gives the latter, `toprung.tuning.run.checkpoints` the former.
    """
    if isinstance(folder, StoredFolder):
        yield from ((folder / trial / name, (trial, name)) for trial, name in folder.checkpoints())
        return
    for trial in _listed(folder):
        if trial.name[0].isdigit():
            found = (path for path in _listed(trial) if path.name.startswith("checkpoint_"))
            yield from ((path, (trial.name, path.name)) for path in found)


def names_in(room: Place) -> list[str]:
    """What lies in a room for sweeps."""
    return room.names() if isinstance(room, StoredFolder) else [path.name for path in _listed(room)]


def is_sweep(name: str) -> bool:
    """Whether it is a sweep's id."""
    return _ID.fullmatch(name) is not None


def measured(path: Place) -> tuple[int, float]:
    """The bytes of a file, or of all in a folder, and when the last of them was written; 0 where nothing is left."""
    size, newest = 0, 0.0
    if isinstance(path, StoredFolder):
        files = [info for info in path.below() if info.is_file]
        return sum(info.size for info in files), max((info.mtime.timestamp() for info in files), default=newest)
    for each in (path, *_below(path)):
        with suppress(FileNotFoundError):  # others remove files too
            status = each.lstat()
            size += 0 if stat.S_ISDIR(status.st_mode) else status.st_size
            newest = max(newest, status.st_mtime)
    return size, newest


def remove(path: Place) -> None:
    """Remove a file, or a folder with all that is in it. One that is gone is no error.

    Raises:
        OSError: it can't be removed; a part of it may be.
    """
    if isinstance(path, StoredFolder):
        path.remove()
        return
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    while path.exists():
        with suppress(FileNotFoundError):  # a runner or another clean-up removes the same
            shutil.rmtree(path)


def shown(home: Home, path: Place) -> str:
    """For users: in the home as it is under it, elsewhere with all that leads there."""
    if isinstance(path, Path) and path.is_relative_to(home.path):
        return path.relative_to(home.path).as_posix()
    return str(path)


def _listed(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # not there yet, or no more; a file, or closed to us
        return []


def _owner(path: Path) -> str | None:
    """The id of the sweep that a folder's name holds."""
    match = _ID.fullmatch(path.name) or _WANDB.fullmatch(path.name)
    return match and match[1]


def _below(path: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(path):
        yield from (Path(folder, name) for name in (*folders, *files))


class Tally:
    """Adds files up by kind."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self._found: dict[FileKind, list[tuple[str, int]]] = {}

    def add(self, kind: FileKind, path: Place, size_bytes: int) -> None:
        self._found.setdefault(kind, []).append((shown(self._home, path), size_bytes))

    def files(self) -> list[Files]:
        """In the order of the kinds."""
        return [self._of(kind, self._found[kind]) for kind in FileKind if kind in self._found]

    def _of(self, kind: FileKind, found: list[tuple[str, int]]) -> Files:
        paths = [path for path, _ in found[:_SHOWN]]
        return Files(kind=kind, count=len(found), size_bytes=sum(size for _, size in found), paths=paths)
