"""How a trial ends, and in which words."""

from __future__ import annotations

from toprung.tuning.records import Action, Decision, Failure, TrialState
from toprung.tuning.schedule import Scheduler
from toprung.tuning.spec import SweepSpec

Verdict = tuple[TrialState, str | None, Failure | None]
"""How a trial ends: its state, the reason in words, the failure."""


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
