"""Where the checkpoints of sweeps lie: in a folder of this machine or one that it shares, or in an object store."""

from __future__ import annotations

from pathlib import Path

from toprung.errors import NotFound
from toprung.tuning.storage import StoredFolder, is_remote

Place = Path | StoredFolder
"""A folder of checkpoints. What asks after one in a store raises an OSError where that does not answer."""

_GONE = "The checkpoint is no longer kept."


class Storage:
    """The rooms in which each sweep has a folder with its id.

    Args:
        runs: the one in the home; what is there stays of use when another one is set.
        setting: another one for what is written from now on.
    """

    def __init__(self, runs: Path, setting: str | None) -> None:
        self.path = setting or str(runs)
        """For runners."""
        self.rooms: list[Place] = [runs]
        if setting is not None and Path(setting) != runs:
            self.rooms.append(StoredFolder(setting) if is_remote(setting) else Path(setting))

    def of_sweep(self, sweep_id: str) -> list[Place]:
        """The folders that are a sweep's, where they are there."""
        return [room / sweep_id for room in self.rooms]

    def checkpoint(self, path: str) -> Place:
        """A checkpoint as the store names it.

        Raises:
            NotFound: it is in none of the rooms of this machine, or gone.
        """
        if is_remote(path):
            folder = StoredFolder(path)
            if not folder.exists():
                raise NotFound(_GONE)
            return folder
        for room in self.rooms:
            if isinstance(room, Path):
                # an absolute path stays what it is
                local, above = (room.parent / path).resolve(), room.resolve()
                if local != above and local.is_relative_to(above) and local.is_dir():
                    return local
        raise NotFound(_GONE)
