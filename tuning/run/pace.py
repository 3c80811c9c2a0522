"""Results that are handed over together.

Each hand-over to Tune is a round trip through Ray of about a millisecond. A function that reports faster than that is
let go on while its results wait, for at most `BATCH_S`, and only where nothing can be decided on them: a trial trains
no step past a rung, its target or a value that can't be compared. `TUNE_RESULT_BUFFER_LENGTH` makes Tune ask for it.
"""

from __future__ import annotations

import math
import time
from collections.abc import Container, Mapping
from dataclasses import dataclass
from typing import Any

from ray.train._internal.session import get_session
from ray.tune import Trainable
from ray.tune.result import DONE, RESULT_DUPLICATE, SHOULD_CHECKPOINT

from toprung.tuning import fits

BATCH_S = 0.02
"""How long a result may wait for the next ones."""


@dataclass(frozen=True)
class Pace:
    """Where a trial must wait for a decision.

    Args:
        metric: the objective.
        sign: 1 where it is minimized, -1 where it is maximized.
        target: of the sweep.
        decided_at: the steps at which the scheduler may end or pause a trial.
        max_t: the last step.
    """

    metric: str
    sign: float
    target: float | None
    decided_at: Container[int]
    max_t: int | None

    def may_go_on(self, result: Mapping[str, Any]) -> bool:
        """Whether training may go on before anybody has seen `result`."""
        if result.get(DONE) or RESULT_DUPLICATE in result or result.get(SHOULD_CHECKPOINT):
            return False
        value: Any = result.get(self.metric)
        step = result["training_iteration"]
        if type(value) not in (int, float) or not math.isfinite(value):
            return False
        if self.target is not None and self.sign * value <= self.sign * self.target:
            return False
        # the first is what people wait for
        return step > 1 and step not in self.decided_at and (self.max_t is None or step < self.max_t)


class WorkerBusyError(Exception):
    """A function that was told to stop did not return in time."""


def batched(cls: type[Trainable], pace: Pace) -> type[Trainable]:
    """A function's trainable whose results are handed over at `pace`."""

    class Batched(cls):  # type: ignore[misc]
        def train_buffered(self, *limits: float) -> list[dict[str, Any]]:
            results = [self.train()]
            ends_at = time.monotonic() + BATCH_S
            while pace.may_go_on(results[-1]) and _reports_by(ends_at):
                results.append(self.train())
            fits.here.put_news(results[-1])
            return results

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            if not super().reset_config(new_config):
                # Tune would forget the new trial where it is told so politely
                raise WorkerBusyError("the worker's last trial did not end, so this one could not begin there")
            return True

    Batched.__name__ = cls.__name__
    return Batched


def _reports_by(ends_at: float) -> bool:
    """Lets the function run on, and waits for its next report."""
    session = get_session()
    if not session._first_report:
        session.continue_lock.release()
        session._first_report = True  # the session's way of knowing that the function runs
    reports = session.result_queue
    with reports.not_empty:
        there: bool = reports.not_empty.wait_for(reports._qsize, max(0.0, ends_at - time.monotonic()))
    return there and time.monotonic() < ends_at
