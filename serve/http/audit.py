"""The audit log: who changed what, when, in which request. A JSON object a line, in `<home>/audit.jsonl`.

A file rather than a table: it needs no reader of its own, it can be shipped and rotated with what the machine has
for logs (each line opens it anew), and nothing that the service offers can change it. Lines hold ids and names alone,
no part of a request's headers, path or body.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from pathlib import Path
from typing import Any

from starlette.types import Scope

from toprung.serve.http.problems import request_id_of
from toprung.tuning.records import utc_now

logger = logging.getLogger(__name__)

_ENTRY = "toprung.audit"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def note_caller(scope: Scope, owner: str | None, token_id: str | None) -> None:
    """The request is `owner`'s, who was recognised by the token of this id."""
    scope.setdefault(_ENTRY, {"owner": owner, "token": token_id, "target": None})


def note_target(scope: Scope, target: str) -> None:
    """The request is about the sweep, token or package of this id."""
    scope[_ENTRY]["target"] = target


class AuditLog:
    """Appends to the audit log of one home."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def write(self, scope: Scope, status: int) -> None:
        """Write down a request that was answered with `status`, if it meant a change and its caller was known.

        Called before the answer is sent. A change has been made by then: where the line can't be written, the
        service's log says so, with the line.
        """
        entry = scope.get(_ENTRY)
        if entry is None or scope["method"] in _SAFE_METHODS:
            return
        action = getattr(scope.get("route"), "operation_id", None)
        at = utc_now().isoformat(timespec="milliseconds")
        line = {"at": at, "request_id": request_id_of(scope), **entry, "action": action, "status": status}
        try:
            await asyncio.to_thread(self._append, line)
        except OSError as error:
            logger.error("the audit log %s cannot be written: %s; lost: %s", self._path, error.strerror, line)

    def _append(self, line: dict[str, Any]) -> None:
        with open(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab") as file:
            file.write(json.dumps(line).encode() + b"\n")
