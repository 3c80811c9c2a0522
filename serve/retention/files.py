"""Where the files of sweeps are in the home, how large they are, and how they go."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from toprung.serve.home import Home
from toprung.serve.store import KnownSweep
from toprung.serve.store.ids import ALPHABET
from toprung.serve.tracking.sink import folder_name
from toprung.tuning.garbage import FileKind, Files
from toprung.tuning.records import Sweep

_SHOWN = 100
_ID = re.compile(rf"(swp_[{ALPHABET}]{{26}})")
_TENSORBOARD = re.compile(rf".+-[{ALPHABET}]{{6}}")
"""See `folder_name`."""
_WANDB = re.compile(rf"(?:offline-)?run-\d{{8}}_\d{{6}}-{_ID.pattern}-\d+")
"""W&B's name for the folder of a run: whether it is online, when it began, its id."""


def files_of(home: Home, sweep: Sweep | KnownSweep) -> dict[FileKind, list[Path]]:
    """The files and folders that are a sweep's alone, by kind; those that are there."""
    places = {
        FileKind.CHECKPOINTS: [home.runs / sweep.id],
        FileKind.LOGS: [home.logs / sweep.id],
        FileKind.TENSORBOARD: [home.tensorboard / folder_name(sweep)],
        FileKind.WANDB: [path for path in _listed(home.wandb_runs) if _owner(path) == sweep.id],
    }
    return {kind: there for kind, paths in places.items() if (there := [path for path in paths if path.exists()])}


class SweepFolders:
    """All that lies in the home and has the name of a sweep's folder. What has another name is none of ours."""

    def __init__(self, home: Home) -> None:
        rooms = (home.runs, home.logs, home.wandb_runs)
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


def checkpoints_in(folder: Path) -> Iterator[Path]:
    """The checkpoints in the folder of a sweep: Tune names them, `toprung.tuning.run.checkpoints` the folders above."""
    for trial in _listed(folder):
        if trial.name[0].isdigit():
            yield from (path for path in _listed(trial) if path.name.startswith("checkpoint_"))


def measured(path: Path) -> tuple[int, float]:
    """The bytes of a file, or of all in a folder, and when the last of them was written; 0 where nothing is left."""
    size, newest = 0, 0.0
    for each in (path, *_below(path)):
        with suppress(FileNotFoundError):  # others remove files too
            status = each.lstat()
            size += 0 if stat.S_ISDIR(status.st_mode) else status.st_size
            newest = max(newest, status.st_mtime)
    return size, newest


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it. One that is gone is no error.

    Raises:
        OSError: it can't be removed; a part of it may be.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
    while path.exists():
        with suppress(FileNotFoundError):  # a runner or another clean-up removes the same
            shutil.rmtree(path)


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
        self._found: dict[FileKind, list[tuple[Path, int]]] = {}

    def add(self, kind: FileKind, path: Path, size_bytes: int) -> None:
        self._found.setdefault(kind, []).append((path, size_bytes))

    def files(self) -> list[Files]:
        """In the order of the kinds."""
        return [self._of(kind, self._found[kind]) for kind in FileKind if kind in self._found]

    def _of(self, kind: FileKind, found: list[tuple[Path, int]]) -> Files:
        paths = [path.relative_to(self._home.path).as_posix() for path, _ in found[:_SHOWN]]
        return Files(kind=kind, count=len(found), size_bytes=sum(size for _, size in found), paths=paths)
