"""Finds and removes what nobody needs. The policy is told in docs/retention.md.

What a sweep that is not finished has is never touched, nor what a trial's row names, but for sweeps that ended before
the age that the caller gives; and files that no sweep of ours can have made are not even looked at.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from toprung.errors import Conflict, NotFound
from toprung.serve.home import Home
from toprung.serve.retention.files import (
    SweepFolders,
    Tally,
    checkpoints_in,
    is_sweep,
    measured,
    names_in,
    remove,
    shown,
)
from toprung.serve.storage import Place
from toprung.serve.store import KnownSweep, Store
from toprung.tuning.garbage import CleanUp, FileKind
from toprung.tuning.storage import StoredFolder

PACKAGE_S = 24 * 3600.0
"""A package without a sweep stays for so long after it was last asked for: who uploads code means to submit it."""
UNKNOWN_S = 3600.0
"""Files of an unknown sweep stay for so long after they were last written to."""

Garbage = Iterator[tuple[FileKind, Place]]


def clean_up(
    store: Store, home: Home, *, dry_run: bool, older_than_s: float | None = None, now: float | None = None
) -> CleanUp:
    """Remove what nobody needs; what can't be removed is told in the answer.

    Args:
        store: where sweeps are kept.
        home: where their files are.
        dry_run: only say what would go.
        older_than_s: checkpoints and logs of sweeps that ended longer ago go too. Default: they stay.
        now: Unix time.
    """
    now = time.time() if now is None else now
    tally, problems = Tally(home), list[str]()
    for kind, path in _garbage(store, home, now, older_than_s, problems):
        try:
            size, _ = measured(path)
            if not dry_run:
                _remove(store, kind, path)
        except OSError as error:
            problems.append(f"{shown(home, path)} stays: {error.strerror or error}")
        else:
            tally.add(kind, path, size)
    return CleanUp(dry_run=dry_run, items=tally.files(), problems=problems)


def _remove(store: Store, kind: FileKind, path: Place) -> None:
    if kind is FileKind.OLD_CHECKPOINTS:
        try:
            store.retention.forget_checkpoints(path.name)
        except (NotFound, Conflict):  # deleted just now, and removed by those who do that; or extended, and needed
            return
    remove(path)


def _garbage(store: Store, home: Home, now: float, older_than_s: float | None, problems: list[str]) -> Garbage:
    # files before sweeps: a sweep is in the store before it has any
    folders, packages = SweepFolders(home), sorted(home.packages.glob("*.zip"))
    sweeps = store.retention.known_sweeps()
    yield from _unused(packages, sweeps, now)
    unknown = list(folders.without(sweeps))
    if sweeps:
        yield from ((FileKind.UNKNOWN_SWEEPS, path) for path in unknown if measured(path)[1] < now - UNKNOWN_S)
    elif unknown:
        problems.append(
            f"The store has no sweeps, but {home.path} has {len(unknown)} folders of some: is it the right store "
            "(TOPRUNG_STORE)? They stay."
        )
    stored = _stored(home, sweeps, problems)
    for sweep in sweeps:
        if sweep.state is not None and sweep.state.finished:
            checkpoints = stored.get(sweep.id, [])
            if _is_old(sweep, now, older_than_s):
                yield from ((FileKind.OLD_CHECKPOINTS, folder) for folder in checkpoints)
                if (log := home.logs / sweep.id).exists():
                    yield FileKind.OLD_LOGS, log
                continue
            for folder in checkpoints:
                try:
                    yield from [(FileKind.LOST_CHECKPOINTS, path) for path in _lost(store, folder, sweep.id)]
                except OSError as error:
                    problems.append(f"{shown(home, folder)} can't be looked at: {error}")


def _stored(home: Home, sweeps: Iterable[KnownSweep], problems: list[str]) -> dict[str, list[Place]]:
    """The folders with checkpoints of these sweeps, by the sweep's id."""
    known, stored = {sweep.id for sweep in sweeps}, dict[str, list[Place]]()
    for room in home.storage.rooms:
        try:
            names = names_in(room)
        except OSError as error:
            problems.append(f"{room} can't be looked at: {error}")
            continue
        for name in names:
            stored.setdefault(name, []).append(room / name)
        others = sum(is_sweep(name) and name not in known for name in names)
        if others and room != home.runs:
            problems.append(
                f"{room}: {others} of its folders are of no sweep that the store knows. They stay: "
                "another service may need them."
            )
    return stored


def _unused(packages: Collection[Path], sweeps: Collection[KnownSweep], now: float) -> Garbage:
    used = {sweep.package for sweep in sweeps if sweep.state is not None}
    for path in packages:
        # looked at one by one, right before each goes: it may just have been asked for
        if path.stem not in used and measured(path)[1] < now - PACKAGE_S:
            yield FileKind.UNUSED_PACKAGES, path


def _lost(store: Store, folder: Place, sweep_id: str) -> Iterator[Place]:
    """Left by a runner that was killed before it had removed them or told of them, or by a trial that still wrote."""
    found = list(checkpoints_in(folder))
    # one that was extended has a runner again, which has saved what it has not told of yet
    if not found or not _is_over(store, sweep_id):
        return
    # by the ends of their paths: the home may have been moved
    references = store.retention.named_checkpoints(sweep_id)
    named = {tuple(StoredFolder(reference.path).path.split("/")[-2:]) for reference in references}
    yield from (path for path, names in found if names not in named)


def _is_over(store: Store, sweep_id: str) -> bool:
    try:
        return store.get_sweep(sweep_id).state.finished
    except NotFound:
        return False


def _is_old(sweep: KnownSweep, now: float, older_than_s: float | None) -> bool:
    return older_than_s is not None and sweep.ended_at is not None and sweep.ended_at.timestamp() < now - older_than_s
