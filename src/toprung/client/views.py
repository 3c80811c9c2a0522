"""The parts of the handles that do no I/O."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

from toprung.client.notebook import summary
from toprung.client.service import Service
from toprung.tuning.records import Sweep, SweepState, Trial, TrialState

D = TypeVar("D")


class SweepView(Generic[D]):
    """A sweep as last seen: nothing here asks the service."""

    def __init__(self, driver: D, service: Service, record: Sweep) -> None:
        self._driver = driver
        self._service = service
        self._record = record

    @property
    def record(self) -> Sweep:
        """All that is known of the sweep; `refresh()` brings it up to date."""
        return self._record

    @property
    def id(self) -> str:
        return self._record.id

    @property
    def name(self) -> str:
        return self._record.name

    @property
    def state(self) -> SweepState:
        return self._record.state

    def _keep(self, record: Sweep) -> Sweep:
        self._record = record
        return record

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return summary(self._record)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} ({self.id}), {self.state}>"


class TrialView(Generic[D]):
    """A trial as last seen: nothing here asks the service."""

    def __init__(self, driver: D, service: Service, record: Trial) -> None:
        self._driver = driver
        self._service = service
        self._record = record

    @property
    def record(self) -> Trial:
        """All that is known of the trial; `refresh()` brings it up to date."""
        return self._record

    @property
    def number(self) -> int:
        """Its place in the sweep, from 0."""
        return self._record.number

    @property
    def state(self) -> TrialState:
        return self._record.state

    @property
    def value(self) -> float | None:
        """The best value of the objective over all reported steps; None before the first."""
        return self._record.value

    @property
    def params(self) -> dict[str, Any]:
        """The varied parameters alone, flat: nested names are joined by "/"."""
        return self._record.params

    @property
    def config(self) -> dict[str, Any]:
        """What the trainable was called with: constants and nesting included."""
        return self._record.config

    def _keep(self, record: Trial) -> Trial:
        self._record = record
        return record

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.number} of {self._record.sweep_id}, {self.state}, value {self.value}>"
