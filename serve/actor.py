"""The controller as an actor.

Whoever holds a handle loads the actor's class, and with it this module: runners do, and the workers that run trials.
So it imports nothing; the controller, with the store behind it, is loaded where the actor lives.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toprung.tuning.past import Past
    from toprung.tuning.prior import PriorSweep
    from toprung.tuning.records import Batch

CONTROLLER = "toprung-controller"
NAMESPACE = "toprung"


class ControllerActor:
    """What others may ask of the controller. Made an actor by `toprung.serve.deploy`."""

    def __init__(self, home: Path, *, wait_for_resources: bool) -> None:
        from toprung.serve.controller import Controller  # noqa: PLC0415  see the module's docstring

        self._controller = Controller(home, wait_for_resources=wait_for_resources)

    def record(self, batch: Batch) -> None:
        """Writes a batch of a runner; returning is the acknowledgement."""
        self._controller.record(batch)

    def log(self, sweep_id: str, number: int, attempt: int, offset: int, data: bytes) -> None:
        """Writes a piece of a trial's output at its offset; the same piece again changes nothing."""
        self._controller.log(sweep_id, number, attempt, offset, data)

    def summaries(self, sweep_id: str, number: int, attempt: int, offset: int, data: bytes) -> None:
        """The same with what a trial writes for TensorBoard."""
        self._controller.summaries(sweep_id, number, attempt, offset, data)

    def prior_sweeps(self, sweep_ids: Sequence[str], steps: Sequence[int]) -> list[PriorSweep]:
        """What a sweep may learn from earlier ones: their trials, with the objective at these steps."""
        return self._controller.prior_sweeps(sweep_ids, steps)

    def past(self, sweep_id: str, steps: Sequence[int] | None) -> Past:
        """What is known of a sweep that a runner takes up, with the objective at these steps; None: at all."""
        past: Past = self._controller.past(sweep_id, steps)
        return past

    def shares(self) -> dict[str, int]:
        """How many trials each running sweep may have at once, by its id."""
        return self._controller.shares()

    def ping(self) -> None:
        """Returns when the actor is there."""

    def shutdown(self, *, end_sweeps: bool) -> None:
        """Stops the controller, and running sweeps with it where `end_sweeps` says so."""
        self._controller.shutdown(end_sweeps=end_sweeps)
