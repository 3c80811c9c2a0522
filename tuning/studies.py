"""Sweeps as Optuna's studies, to look at: a storage that reads, whatever the sweeps are read from.

A study is a sweep, by its name (the newest of it) or its id. Trials are read a page at a time and kept; read again are
only pages with trials that have not ended, the last page, and objective values that are new.
"""

from __future__ import annotations

import copy
import hashlib
import threading
import time
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any, Protocol

from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.study._frozen import FrozenStudy  # no public name: the interface of a storage gives it out

from toprung.errors import Conflict, NotFound
from toprung.tuning.frozen import TRIALS, frozen
from toprung.tuning.records import Page, Sweep, Trial, Values

FRESH_S = 1.0
"""What was read is not read again for so long: Optuna asks for all trials many times in a row."""


class Source(Protocol):
    """Where sweeps are read from."""

    def sweeps(self) -> list[Sweep]:
        """The newest ones, the newest first."""

    def sweep(self, id_or_name: str) -> Sweep:
        """Raises:
        NotFound: there is none.
        """

    def trials(self, sweep_id: str, cursor: str | None) -> Page[Trial]:
        """By number."""

    def values(self, sweep_id: str, after: int) -> Values:
        """What the trials reported of the objective."""

    def close(self) -> None:
        """Let go of connections; the next call makes new ones."""


@dataclass
class _PageOf:
    cursor: str | None
    trials: list[Trial] = field(default_factory=list)
    next_cursor: str | None = None

    @property
    def settled(self) -> bool:
        return self.next_cursor is not None and all(trial.state.finished for trial in self.trials)


@dataclass
class _Study:
    id: int
    sweep: Sweep
    pages: list[_PageOf] = field(default_factory=lambda: [_PageOf(None)])
    values: dict[int, dict[int, float]] = field(default_factory=dict)
    last: int = 0
    frozen: dict[int, Any] = field(default_factory=dict)
    read_at: float = float("-inf")


class SweepStorage(BaseStorage):  # type: ignore[misc]  # Optuna's types are not followed
    """Optuna's storage over `source`, read-only: what would write raises `Conflict`.

    Args:
        max_trials: of a sweep at most so many trials are read, the first; None: all. The study's user attributes tell.
        max_values: and so many values of the objective.
    """

    def __init__(self, source: Source, *, max_trials: int | None = None, max_values: int | None = None) -> None:
        self._source = source
        self._max_trials = max_trials
        self._max_values = max_values
        self._lock = threading.RLock()
        self._studies: dict[int, _Study] = {}
        self._ids: dict[str, int] = {}

    # -- studies ------------------------------------------------------------------------------------------------

    def get_study_id_from_name(self, study_name: str) -> int:
        try:
            return self._know(self._source.sweep(_reference(study_name)))
        except NotFound as error:
            raise KeyError(f"There is no sweep {study_name!r}.") from error

    def get_study_name_from_id(self, study_id: int) -> str:
        return self._study(study_id).sweep.id

    def get_study_directions(self, study_id: int) -> list[Any]:
        return [_direction(self._study(study_id).sweep)]

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        study = self._study(study_id)
        attrs: dict[str, Any] = {"sweep": study.sweep.name, "id": study.sweep.id, "state": str(study.sweep.state)}
        known = sum(study.sweep.trials.values())
        if self._max_trials is not None and known > self._max_trials:
            attrs["shown"] = f"the first {self._max_trials:,} of {known:,} trials"
        return attrs

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        self._study(study_id)
        return {}

    def get_all_studies(self) -> list[Any]:
        found, names = [], set()
        for sweep in self._source.sweeps():
            study_id = self._know(sweep)
            name = sweep.name if sweep.name not in names else f"{sweep.name} ({sweep.id})"
            names.add(sweep.name)
            attrs = self.get_study_user_attrs(study_id)
            found.append(FrozenStudy(name, None, attrs, {}, study_id, directions=[_direction(sweep)]))
        return found

    def _know(self, sweep: Sweep) -> int:
        with self._lock:
            study_id = self._ids.get(sweep.id)
            if study_id is None:
                # the same for everybody who reads, so that a link to a study stays right
                study_id = int.from_bytes(hashlib.sha256(sweep.id.encode()).digest()[:4]) >> 1
                while study_id in self._studies:
                    study_id += 1
                self._ids[sweep.id] = study_id
                self._studies[study_id] = _Study(study_id, sweep)
            self._studies[study_id].sweep = sweep
            return study_id

    def _study(self, study_id: int) -> _Study:
        with self._lock:
            if study_id not in self._studies:
                for sweep in self._source.sweeps():  # a link from another process
                    self._know(sweep)
            if study_id not in self._studies:
                raise KeyError(f"There is no study {study_id}.")
            return self._studies[study_id]

    # -- trials -------------------------------------------------------------------------------------------------

    def get_trial(self, trial_id: int) -> Any:
        study_id, number = divmod(trial_id, TRIALS)
        known = self._refreshed(study_id)
        if number not in known:
            raise KeyError(f"Study {study_id} has no trial {number}.")
        return copy.deepcopy(known[number])

    def get_trial_id_from_study_id_trial_number(self, study_id: int, trial_number: int) -> int:
        if trial_number not in self._refreshed(study_id):
            raise KeyError(f"Study {study_id} has no trial {trial_number}.")
        return study_id * TRIALS + trial_number

    def get_all_trials(self, study_id: int, deepcopy: bool = True, states: Container[Any] | None = None) -> list[Any]:
        known = self._refreshed(study_id)
        found = [trial for _, trial in sorted(known.items()) if states is None or trial.state in states]
        return copy.deepcopy(found) if deepcopy else found

    def _refreshed(self, study_id: int) -> dict[int, Any]:
        study = self._study(study_id)
        with self._lock:
            if time.monotonic() - study.read_at >= FRESH_S:
                study.sweep = self._source.sweep(study.sweep.id)
                changed = self._read_pages(study)
                # states first, values after: those of a trial that has ended here are all there
                changed |= self._read_values(study)
                known = {trial.number: trial for page in study.pages for trial in page.trials}
                for number in changed & known.keys():
                    values = study.values.get(number, {})
                    study.frozen[number] = frozen(study.id, study.sweep.spec.space, known[number], values)
                study.read_at = time.monotonic()
            return dict(study.frozen)

    def _read_pages(self, study: _Study) -> set[int]:
        changed: set[int] = set()
        room = self._max_trials if self._max_trials is not None else float("inf")
        place = 0
        while place < len(study.pages) and room > 0:
            page = study.pages[place]
            if not page.settled:
                before = {trial.number: trial for trial in page.trials}
                read = self._source.trials(study.sweep.id, page.cursor)
                page.trials, page.next_cursor = read.items[: int(min(room, len(read.items)))], read.next_cursor
                changed |= {trial.number for trial in page.trials if before.get(trial.number) != trial}
                if page.next_cursor is not None and place == len(study.pages) - 1:
                    study.pages.append(_PageOf(page.next_cursor))
            room -= len(page.trials)
            place += 1
        return changed

    def _read_values(self, study: _Study) -> set[int]:
        changed: set[int] = set()
        num_values = sum(map(len, study.values.values()))
        while self._max_values is None or num_values < self._max_values:
            read = self._source.values(study.sweep.id, study.last)
            for number, step, value in read.items:
                study.values.setdefault(number, {})[step] = value
                changed.add(number)
            num_values += len(read.items)
            study.last = read.last
            if not read.more:
                break
        return changed

    def remove_session(self) -> None:
        """Close what is open, as Optuna says it; the next call opens it again."""
        self._source.close()

    # -- what would write ---------------------------------------------------------------------------------------

    def _refuse(self, *_: Any, **__: Any) -> Any:
        raise Conflict(
            "A sweep of Toprung is not written through Optuna. To have a configuration tried: "
            "`toprung enqueue SWEEP NAME=VALUE…`, or `Client().sweep(name).enqueue({…})`."
        )

    create_new_study = _refuse
    delete_study = _refuse
    set_study_user_attr = _refuse
    set_study_system_attr = _refuse
    create_new_trial = _refuse
    set_trial_param = _refuse
    set_trial_state_values = _refuse
    set_trial_intermediate_value = _refuse
    set_trial_user_attr = _refuse
    set_trial_system_attr = _refuse


def _reference(study_name: str) -> str:
    """What the service knows the sweep by: an id stands in brackets where a name isn't enough."""
    return study_name[:-1].rpartition("(")[2] if study_name.endswith(")") else study_name


def _direction(sweep: Sweep) -> Any:
    return StudyDirection.MINIMIZE if sweep.spec.metric.goal == "minimize" else StudyDirection.MAXIMIZE
