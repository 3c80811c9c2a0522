"""How a trial ends, or all of them, and in which words."""

from __future__ import annotations

import re
from collections.abc import Iterable

from toprung.tuning.records import Action, Decision, Failure, FailureKind, Trial, TrialState
from toprung.tuning.schedule import Scheduler
from toprung.tuning.spec import SweepSpec

Verdict = tuple[TrialState, str | None, Failure | None]
"""How a trial ends: its state, the reason in words, the failure."""

SURE_AFTER = 5
"""Trials that fail alike before a sweep gives up. A configuration may be at fault for one, hardly for five."""


def verdict_of(
    spec: SweepSpec, rule: Scheduler, step: int, value: float | None, decision: Decision | None
) -> Verdict | None:
    """How a trial ends that has come to a step; None: it goes on, or waits.

    Args:
        spec: of the sweep.
        rule: which decided.
        step: the trial's last one.
        value: of the objective.
        decision: the last on the trial, if there was one.
    """
    if value is not None and spec.metric.reached(value):
        return TrialState.COMPLETED, f"reached the target {spec.metric.target:g}", None
    max_t = spec.scheduler.max_t
    if max_t is not None and step >= max_t:
        return TrialState.COMPLETED, f"reached max_t, {max_t} steps", None
    if decision is not None and decision.action is Action.STOP:
        return TrialState.PRUNED, rule.in_words(decision), None
    return None


def target_reached(spec: SweepSpec, number: int, step: int) -> str:
    """Why a sweep ends early."""
    return f"the target {spec.metric.target:g} was reached by trial {number} at step {step}"


def common_failure(trials: Iterable[Trial]) -> str | None:
    """Why a sweep's other trials would fail, too: what its first ones failed of; None where they may not.

    The first `SURE_AFTER` trials to end raised the same exception (numbers in its text apart), and no other has come
    further than they did.
    """
    trials = list(trials)
    failed = [trial for trial in trials if trial.state is TrialState.FAILED]
    if len(failed) != SURE_AFTER or sum(trial.state.finished for trial in trials) != SURE_AFTER:
        return None
    failures = [trial.failure for trial in failed if trial.failure is not None]
    alike = {re.sub(r"\d[\d.e+-]*", "#", failure.message) for failure in failures}
    furthest = max(trial.step for trial in failed)
    if len(alike) != 1 or any(failure.kind is not FailureKind.USER_ERROR for failure in failures):
        return None
    if any(trial.step > furthest or trial.state is TrialState.PAUSED for trial in trials):
        return None
    first = min(failed, key=lambda trial: trial.number)
    assert first.failure is not None
    return f"the first {SURE_AFTER} trials failed alike; trial {first.number}: {first.failure.message}"


def all_failed(trials: Iterable[Trial]) -> str | None:
    """Why a sweep has failed none of whose trials is worth anything; None where one is."""
    trials = list(trials)
    if not trials or any(trial.state is not TrialState.FAILED for trial in trials):
        return None
    first = trials[0]
    assert first.failure is not None
    count = "its only trial" if len(trials) == 1 else f"all {len(trials)} trials"
    return f"{count} failed; trial {first.number}: {first.failure.message}"


class Plateau:
    """How many trials in a row have ended without a better value. It follows from the order of their ends alone."""

    def __init__(self) -> None:
        self._best: float | None = None
        self._since = 0

    def take_up(self, trials: Iterable[Trial], sign: float) -> None:
        """Trials of an earlier runner."""
        ended = [(trial.ended_at, trial.number, trial) for trial in trials if trial.ended_at is not None]
        for _, _, trial in sorted(ended, key=lambda entry: entry[:2]):
            self.ended(trial, sign)

    def ended(self, trial: Trial, sign: float) -> int:
        """A trial is over. Returns how many have been without a better value since the best.

        Args:
            trial: one that failed, was cancelled or asked for by a user doesn't count; it may be the best.
            sign: 1 where less is better, -1 where more is.
        """
        if trial.state in (TrialState.COMPLETED, TrialState.PRUNED) and trial.value is not None:
            better = self._best is None or sign * trial.value < self._best
            self._best = sign * trial.value if better else self._best
            self._since = 0 if better else self._since + (trial.request_id is None)
        return self._since
