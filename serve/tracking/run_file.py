"""W&B's run files: a header of 7 bytes, then protobuf messages in LevelDB's log format (blocks of 32 KiB)."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from wandb.proto.wandb_internal_pb2 import Record

_HEADER, _BLOCK = 7, 32 * 1024
_FULL, _LAST = 1, 4


def records(path: Path) -> Iterator[Record]:
    """The records that are in the file as far as it is written."""
    yield from map(Record.FromString, _messages(path.read_bytes()))


def is_complete(path: Path) -> bool:
    """Whether the run in this file has ended, and all of it is there."""
    return path.exists() and any(record.WhichOneof("record_type") == "exit" for record in records(path))


def _messages(data: bytes) -> Iterator[bytes]:
    position, parts = _HEADER, b""
    while position + _HEADER <= len(data):
        left = _BLOCK - position % _BLOCK
        if left < _HEADER:  # the rest of a block, too short for a header, is padding
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        position += _HEADER
        if position + length > len(data):  # not written yet
            return
        parts += data[position : position + length]
        position += length
        if kind in (_FULL, _LAST):
            yield parts
            parts = b""
