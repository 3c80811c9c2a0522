"""An event file that is written by one process after the other, each of which knows how far the last one came.

Its events come in groups; the last of a group has a stamp in its `source_metadata`, which TensorBoard doesn't look at.
What stands behind the last stamp is a group that was broken off, and goes when the file is opened again.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from tensorboard.compat.proto.event_pb2 import Event, SourceMetadata

from toprung.serve.tracking.crc import masked_crc32c

_HEAD = struct.Struct("<QI")
_FOOT = struct.Struct("<I")
_FLUSH_BYTES = 1024 * 1024
_VERSION = "brain.Event:2"
"""Without it TensorBoard hides what was written before an event with a smaller step."""


class Stamp(StrEnum):
    """What a group was."""

    FILE = "toprung"
    BEGIN = "toprung begin"
    RESULT = "toprung result"
    SUMMARIES = "toprung summaries"
    END = "toprung end"


class EventFile:
    """The events of one run of TensorBoard's.

    Args:
        folder: of the run; nobody else writes event files there.
        began_at: of the run.

    Attributes:
        steps: of what was written, the last step by stamp.
    """

    def __init__(self, folder: Path, began_at: datetime) -> None:
        self._name = folder / f"events.out.tfevents.{began_at.timestamp():.0f}.toprung"
        self._began_at = began_at.timestamp()
        self._buffer = bytearray()
        self.steps: dict[str, int] = {}
        folder.mkdir(parents=True, exist_ok=True)
        parts = sorted(folder.glob(f"{self._name.name}.*"))
        whole = [self._read(path) for path in parts]
        self._part = max(0, len(parts) - 1)
        if parts and parts[-1].stat().st_size > whole[-1]:
            with parts[-1].open("r+b") as file:
                file.truncate(whole[-1])
            # not the same one: a TensorBoard that runs may have read what is cut off
            self._part += 1
        if self._part == len(parts) or not whole[-1]:
            self.add(Event(wall_time=self._began_at, file_version=_VERSION), Stamp.FILE)

    def add(self, event: Event, stamp: Stamp | None = None) -> None:
        """An event of ours.

        Args:
            stamp: for the last one of a group.
        """
        if stamp is not None:
            event.source_metadata.CopyFrom(SourceMetadata(writer=stamp))
            self.steps[stamp] = event.step
        self.add_serialized(event.SerializeToString())

    def add_serialized(self, event: bytes) -> None:
        """Somebody else's, as it is."""
        head = struct.pack("<Q", len(event))
        self._buffer += head + _FOOT.pack(masked_crc32c(head)) + event + _FOOT.pack(masked_crc32c(event))
        if len(self._buffer) > _FLUSH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Puts what there is onto the disk.

        Raises:
            OSError: it can't be written.
        """
        if self._buffer:
            with self._path.open("ab") as file:
                file.write(self._buffer)
            self._buffer.clear()

    @property
    def _path(self) -> Path:
        return self._name.with_name(f"{self._name.name}.{self._part:04d}")

    def _read(self, path: Path) -> int:
        """Where its last whole group ends; 0: it has none."""
        whole = 0
        for end, data in records(path.read_bytes()):
            event = Event.FromString(data)
            if event.source_metadata.writer.startswith(Stamp.FILE):
                whole = end
                self.steps[event.source_metadata.writer] = event.step
        return whole


def records(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The whole records of an event file: where each ends, and what it holds."""
    start = 0
    while start + _HEAD.size <= len(data):
        length, _ = _HEAD.unpack_from(data, start)
        end = start + _HEAD.size + length + _FOOT.size
        if end > len(data):
            return
        yield end, data[start + _HEAD.size : end - _FOOT.size]
        start = end
