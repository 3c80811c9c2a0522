"""The way of runners and trials to the service. Light: the workers that run trials load this module."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray

if TYPE_CHECKING:
    from collections.abc import Sequence

    from toprung.tuning.past import Past
    from toprung.tuning.prior import PriorSweep
    from toprung.tuning.records import Batch

_CALL_S = 60.0


@dataclass(frozen=True)
class Service:
    """The runner's way to the service: the methods of the controller that it calls."""

    controller_name: str
    namespace: str

    def record(self, batch: Batch) -> None:
        """Returns when the batch is committed."""
        self._call("record", batch)

    def log(self, sweep_id: str, number: int, attempt: int, offset: int, data: bytes) -> None:
        """Returns when the piece of output is written."""
        self._call("log", sweep_id, number, attempt, offset, data)

    def summaries(self, sweep_id: str, number: int, attempt: int, offset: int, data: bytes) -> None:
        """Returns when the piece of what a trial wrote for TensorBoard is written."""
        self._call("summaries", sweep_id, number, attempt, offset, data)

    def prior_sweeps(self, sweep_ids: Sequence[str], steps: Sequence[int]) -> list[PriorSweep]:
        """Earlier sweeps, with the objective of their trials at these steps."""
        found: list[PriorSweep] = self._call("prior_sweeps", sweep_ids, steps)
        return found

    def past(self, sweep_id: str, steps: Sequence[int] | None) -> Past:
        """What is known of the sweep, with the objective at these steps; None: at all."""
        past: Past = self._call("past", sweep_id, steps)
        return past

    def _call(self, method: str, *args: Any) -> Any:
        try:
            controller = _named_actor(self.controller_name, self.namespace)
            return ray.get(getattr(controller, method).remote(*args), timeout=_CALL_S)
        except Exception:
            _named_actor.cache_clear()  # another one may have its name when it is called again
            raise


@functools.cache
def _named_actor(name: str, namespace: str) -> Any:
    return ray.get_actor(name, namespace=namespace)
