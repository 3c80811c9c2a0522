"""A trial that is run again: the sweep that does it, and what it says about the first time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import pairwise
from typing import Any, NamedTuple

from toprung.errors import Conflict
from toprung.tuning.records import Record, Result, RunEnvironment, Sweep, Trial, TrialEnvironment
from toprung.tuning.spec import SweepSpec, spec_from

_LONGEST_NAME = 63
_COMPARED = ("python", "platform", "cpu", "omp_num_threads", "torch_threads", "gpus", "driver", "cuda", "code")
"""Of the surroundings, besides the packages."""
_OF_TORCH = ("torch_threads", "cuda")
"""Of a trial that doesn't use PyTorch it is by chance that its worker has loaded it, and knows these."""


def repeated(sweep: Sweep, trial: Trial, seed: int, ran_in: RunEnvironment | None) -> SweepSpec:
    """The spec of a sweep that runs one trial again, up to the step that it had reached.

    Args:
        sweep: the trial's.
        trial: which.
        seed: of its first attempt: what was drawn by others depends on checkpoints that are no longer there.
        ran_in: its surroundings, where they are known: its sweep may have got other code since.

    Raises:
        Conflict: it is not over, or has reported nothing that could be compared.
    """
    if not trial.state.finished:
        raise Conflict(
            f"Trial {trial.number} of {sweep.name} is not over: it is {trial.state}. Reproduce it when it has ended.",
            state=trial.state,
        )
    if trial.step == 0:
        raise Conflict(
            f"Trial {trial.number} of {sweep.name} has reported nothing, so there is nothing to compare with.",
            state=trial.state,
        )
    spec, code = sweep.spec.model_dump(mode="json"), ran_in or sweep.spec
    end = f"-reproduce-{trial.number}"
    return spec_from(
        {
            **spec,
            "name": sweep.name[: _LONGEST_NAME - len(end)] + end,
            "code": code.code,
            "git": code.git and code.git.model_dump(mode="json"),
            "metric": {**spec["metric"], "target": None},
            "search": {"algorithm": "random", "points": [_nested(trial.params)]},
            "scheduler": {"type": "none", "max_t": trial.step},
            "budget": {"trials": 1},
            "stop_when": {},
            "concurrency": 1,
            "resources": sweep.spec.resources.at(trial.ladder_step).model_dump(mode="json"),
            "trial_seed": seed,
            "tracking": {"tensorboard": False},
        }
    )


def _nested(params: Mapping[str, Any]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for name, value in params.items():
        *groups, last = name.split("/")
        inner = tree
        for group in groups:
            inner = inner.setdefault(group, {})
        inner[last] = value
    return tree


# ---- what it says


class Outcome(StrEnum):
    IDENTICAL = "identical"
    """Each value is the same, bit for bit."""
    WITHIN_TOLERANCE = "within_tolerance"
    DIFFERS = "differs"


class StepDifference(Record):
    """The objective at a step, both times."""

    step: int
    stored: float | None
    """None: it was not finite, or not reported."""
    again: float | None


class Change(Record):
    """What is different about the surroundings."""

    what: str
    """A field of `RunEnvironment`, or `packages/NAME`."""
    before: str | None
    now: str | None


class Reproduction(Record):
    """A trial beside its repetition."""

    sweep_id: str
    number: int
    again_id: str
    """The sweep that ran it again, as its trial 0."""
    again_name: str
    outcome: Outcome
    metric: str
    tolerance: float
    """Largest difference that is none, in the metric's own unit."""
    num_steps: int
    """Steps that were compared: all that the trial had reported."""
    largest_difference: float
    """0.0 where all are the same; of the steps that both have."""
    first_difference: StepDifference | None = None
    """The first step beyond the tolerance; where there is none, the first that is not the same bit for bit."""
    seed: int | None = None
    """With which it was run again."""
    attempts: int
    """How many the trial had."""
    later_attempts: tuple[int, ...] = ()
    """The steps at which the results of attempts after the first begin."""
    failure: str | None = None
    """Why it ended before its last step when it was run again."""
    changes: tuple[Change, ...] | None = None
    """What is different about the surroundings; None: it isn't known of both."""

    @property
    def same(self) -> bool:
        """Identical, or within the tolerance."""
        return self.outcome is not Outcome.DIFFERS


class Ran(NamedTuple):
    """A trial with all that it has said."""

    trial: Trial
    results: Sequence[Result]
    environment: TrialEnvironment


def compare(first: Ran, second: Ran | None, metric: str, again: Sweep, tolerance: float = 0.0) -> Reproduction:
    """Compares a trial's objective step by step.

    Args:
        first: the trial.
        second: its repetition; None: not even that began.
        metric: the objective.
        again: the sweep of the repetition.
        tolerance: largest difference that is none.
    """
    differences = list(_differences(first.results, second.results if second else (), metric))
    beyond = [found for found in differences if _size(found) > tolerance]
    sizes = [size for found in differences if (size := _size(found)) != float("inf")]
    outcome = Outcome.DIFFERS if beyond else Outcome.WITHIN_TOLERANCE if differences else Outcome.IDENTICAL
    before, now = first.environment.environment, second.environment.environment if second else None
    return Reproduction(
        sweep_id=first.trial.sweep_id,
        number=first.trial.number,
        again_id=again.id,
        again_name=again.name,
        outcome=outcome,
        metric=metric,
        tolerance=tolerance,
        num_steps=len(first.results),
        largest_difference=max(sizes, default=0.0),
        first_difference=next(iter(beyond or differences), None),
        seed=again.spec.trial_seed,
        attempts=first.trial.attempt,
        later_attempts=_later_attempts(first.results),
        failure=_failure(second, again) if beyond else None,
        changes=tuple(changed(before, now)) if before and now else None,
    )


def changed(before: RunEnvironment, now: RunEnvironment) -> Iterator[Change]:
    """What is different about two surroundings."""
    for name in _COMPARED:
        old, new = _text(getattr(before, name)), _text(getattr(now, name))
        unused = name in _OF_TORCH and None in (old, new)
        if old != new and not unused:
            yield Change(what=name, before=old, now=new)
    for name in sorted(before.packages.keys() | now.packages.keys()):
        old, new = before.packages.get(name), now.packages.get(name)
        if old != new:
            yield Change(what=f"packages/{name}", before=old, now=new)


def _differences(stored: Iterable[Result], again: Iterable[Result], metric: str) -> Iterator[StepDifference]:
    values = {result.step: _value(result, metric) for result in again}
    for result in stored:
        found = StepDifference(step=result.step, stored=_value(result, metric), again=values.get(result.step))
        if found.stored != found.again or result.step not in values:
            yield found


def _size(found: StepDifference) -> float:
    if found.stored is None or found.again is None:
        return float("inf")
    return abs(found.stored - found.again)


def _value(result: Result, metric: str) -> float | None:
    value = result.metrics.get(metric)
    return float(value) if isinstance(value, int | float) else None


def _later_attempts(results: Sequence[Result]) -> tuple[int, ...]:
    return tuple(result.step for previous, result in pairwise(results) if result.attempt > previous.attempt)


def _failure(second: Ran | None, again: Sweep) -> str | None:
    if second is None:
        return again.reason or f"the sweep {again.state}"
    if second.trial.failure is not None:
        return second.trial.failure.message
    return None if second.trial.state == "completed" else second.trial.reason


def _text(value: Any) -> str | None:
    return (", ".join(value) or None) if isinstance(value, tuple) else None if value is None else str(value)
