"""What a scheduler has decided in a sweep, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from toprung.tuning.records import Action, Decision

ACTIONS = tuple(Action)
FIELDS = (
    "id",
    "number",
    "attempt",
    "rung",
    "bracket",
    "action",
    "value",
    "cutoff",
    "rank",
    "seen",
    "places",
    "decided_s",
)
"""Of a decision: its record's, with the time in seconds since 1970."""
_ACTION = FIELDS.index("action")


@dataclass(frozen=True)
class Decisions:
    """Decisions in their order, a row each of `FIELDS`; the action by its place in `ACTIONS`."""

    table: npt.NDArray[np.float64]

    @classmethod
    def none(cls) -> Decisions:
        return cls(np.empty((0, len(FIELDS))))

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, name: str) -> npt.NDArray[np.float64]:
        column: npt.NDArray[np.float64] = self.table[:, FIELDS.index(name)]
        return column

    @property
    def last_id(self) -> int:
        return int(self["id"][-1]) if len(self) else 0

    @property
    def size_bytes(self) -> int:
        return self.table.nbytes

    def with_rows(self, rows: Sequence[tuple[Any, ...]]) -> Decisions:
        """With those that follow, each as `FIELDS` has it."""
        if not rows:
            return self
        places = {action.value: place for place, action in enumerate(ACTIONS)}
        new = np.array([(*row[:_ACTION], places[row[_ACTION]], *row[_ACTION + 1 :]) for row in rows], np.float64)
        return Decisions(np.concatenate([self.table, new]))

    @cached_property
    def last_of_each(self) -> Decisions:
        """For each trial and rung what was decided last: one that pauses may be promoted there later."""
        return self._last_by("number", "rung")

    @cached_property
    def last_of_rungs(self) -> Decisions:
        """What was decided last at each rung of each bracket."""
        return self._last_by("rung", "bracket")

    def _last_by(self, first: str, second: str) -> Decisions:
        if not len(self):
            return self
        keys = self.table[:, [FIELDS.index(first), FIELDS.index(second)]]
        order = np.lexsort((self["id"], keys[:, 1], keys[:, 0]))
        newer = np.any(np.diff(keys[order], axis=0) != 0, axis=1)
        return Decisions(self.table[order[np.append(newer, True)]])

    def where(self, mask: npt.NDArray[np.bool_]) -> Decisions:
        return Decisions(self.table[mask])

    def record(self, place: int) -> Decision:
        """One of them as the record that it was."""
        values = dict(zip(FIELDS[1:], self.table[place, 1:].tolist(), strict=True))
        whole = {name: int(values[name]) for name in ("number", "attempt", "rung", "bracket", "rank", "seen", "places")}
        return Decision(
            **whole,
            action=ACTIONS[int(values["action"])],
            value=values["value"],
            cutoff=values["cutoff"],
            decided_at=datetime.fromtimestamp(values["decided_s"], UTC),
        )
