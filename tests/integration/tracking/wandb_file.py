"""Reads W&B's run files: a header of 7 bytes, then LevelDB log records with protobuf messages."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

_HEADER, _BLOCK = 7, 32 * 1024


@dataclass
class Run:
    """What a run file says."""

    id: str = ""
    name: str = ""
    group: str = ""
    tags: list[str] = field(default_factory=list)
    config: dict[str, Any] = field(default_factory=dict)
    history: list[dict[str, Any]] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    exit_code: int | None = None


def read_run(path: Path) -> Run:
    run = Run()
    for record in map(Record.FromString, _messages(path.read_bytes())):
        match record.WhichOneof("record_type"):
            case "run":
                run.id, run.name, run.group = record.run.run_id, record.run.display_name, record.run.run_group
                run.tags = list(record.run.tags)
                run.config |= {item.key: json.loads(item.value_json) for item in record.run.config.update}
            case "history":
                run.history.append(_values(record.history.item))
            case "summary":
                run.summary |= _values(record.summary.update)
            case "exit":
                run.exit_code = record.exit.exit_code
    return run


def _values(items: Any) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def _messages(data: bytes) -> Iterator[bytes]:
    position, parts = _HEADER, b""
    while position + _HEADER <= len(data):
        left = _BLOCK - position % _BLOCK
        if left < _HEADER:  # the rest of a block, too short for a header, is padding
            position += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, position)
        parts += data[position + _HEADER : position + _HEADER + length]
        position += _HEADER + length
        if kind in (1, 4):  # a full message, or the last part of one
            yield parts
            parts = b""
