"""Records to rows and back."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

from pydantic_core import from_json, to_json
from sqlalchemy import Row

from toprung.serve.store.tables import COUNTERS
from toprung.tuning.orders import TrialRequest
from toprung.tuning.prior import PriorTrial
from toprung.tuning.records import Best, CheckpointRef, Decision, Event, Failure, Result, Sweep, Trial, TrialState
from toprung.tuning.spec import SweepSpec


def to_text(value: Any) -> str:
    """JSON text; NaN and infinities in parameters are kept as such."""
    return to_json(value, inf_nan_mode="constants").decode()


@lru_cache(maxsize=256)
def _spec(text: str) -> SweepSpec:
    # Frozen, so that it may be shared; sweeps are read far more often than they are made.
    return SweepSpec.model_validate_json(text)


def sweep_of(row: Row[Any]) -> Sweep:
    counts = {state: row._mapping[column] for state, column in COUNTERS.items()}
    best = None
    if row.best_number is not None:
        best = Best(number=row.best_number, step=row.best_step, value=row.best_value)
    return Sweep(
        id=row.id,
        name=row.name,
        owner=row.owner,
        state=row.state,
        reason=row.reason,
        spec=_spec(row.spec),
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        cancel_requested=row.cancel_requested,
        pause_requested=row.pause_requested,
        idle_s=row.idle_s,
        revision=row.revision,
        trials={state: count for state, count in counts.items() if count},
        num_trials=row.num_trials,
        best=best,
        num_results=row.num_results,
        gpu_hours=row.gpu_hours,
        cost=row.cost,
    )


def trial_of(row: Row[Any]) -> Trial:
    return Trial(
        sweep_id=row.sweep_id,
        number=row.number,
        state=row.state,
        params=from_json(row.params),
        config=from_json(row.config),
        attempt=row.attempt,
        bracket=row.bracket,
        step=row.step,
        value=row.value,
        best_step=row.best_step,
        metrics=from_json(row.metrics),
        reason=row.reason,
        failure=None if row.failure is None else Failure.model_validate_json(row.failure),
        checkpoint=checkpoint_of(row.checkpoint),
        resume_from=checkpoint_of(row.resume_from),
        node=row.node,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        gpu_hours=row.gpu_hours,
        cost=row.cost,
        request_id=row.request_id,
        retry_of=row.retry_of,
        stop_requested=row.stop_requested,
        num_failures=row.num_failures,
        ladder_step=row.ladder_step,
        seed=row.seed,
        environment=row.environment,
    )


def checkpoint_of(text: str | None) -> CheckpointRef | None:
    return None if text is None else CheckpointRef.model_validate_json(text)


def prior_trial_of(row: Row[Any], values: dict[int, float]) -> PriorTrial:
    """`values`: the objective by step."""
    failure = None if row.failure is None else Failure.model_validate_json(row.failure)
    return PriorTrial(
        state=row.state,
        infeasible=row.state == TrialState.FAILED and not (failure is not None and failure.kind.lost),
        params=from_json(row.params),
        config=from_json(row.config),
        step=row.step,
        value=row.value,
        best_step=row.best_step,
        values=values,
    )


def trial_row(trial: Trial, goal: str) -> dict[str, Any]:
    value = finite(trial.value)
    return {
        "sweep_id": trial.sweep_id,
        "number": trial.number,
        "state": trial.state.value,
        "params": to_text(trial.params),
        "config": to_text(trial.config),
        "attempt": trial.attempt,
        "bracket": trial.bracket,
        "step": trial.step,
        "value": value,
        "badness": badness(value, goal),
        "best_step": trial.best_step,
        "metrics": to_text(trial.metrics),
        "reason": trial.reason,
        "failure": None if trial.failure is None else to_text(trial.failure),
        "checkpoint": None if trial.checkpoint is None else to_text(trial.checkpoint),
        "checkpoint_step": None if trial.checkpoint is None else trial.checkpoint.step,
        "resume_from": None if trial.resume_from is None else to_text(trial.resume_from),
        "resume_step": None if trial.resume_from is None else trial.resume_from.step,
        "node": trial.node,
        "created_at": trial.created_at,
        "started_at": trial.started_at,
        "ended_at": trial.ended_at,
        "gpu_hours": trial.gpu_hours,
        "cost": trial.cost,
        "request_id": trial.request_id,
        "retry_of": trial.retry_of,
        "num_failures": trial.num_failures,
        "ladder_step": trial.ladder_step,
        "seed": trial.seed,
        "environment": trial.environment,
    }


def request_of(row: Row[Any]) -> TrialRequest:
    return TrialRequest(id=row.id, params=from_json(row.params), retry_of=row.retry_of)


def result_of(row: Row[Any]) -> Result:
    return Result(
        number=row.number,
        step=row.step,
        attempt=row.attempt,
        reported_at=row.reported_at,
        time_total_s=row.time_total_s,
        metrics=from_json(row.metrics),
    )


def result_row(sweep_id: str, result: Result) -> dict[str, Any]:
    return {
        "sweep_id": sweep_id,
        "number": result.number,
        "step": result.step,
        "attempt": result.attempt,
        "reported_at": result.reported_at,
        "time_total_s": result.time_total_s,
        "metrics": to_text(result.metrics),
    }


def decision_of(row: Row[Any]) -> Decision:
    return Decision.model_validate({name: row._mapping[name] for name in Decision.model_fields})


def decision_row(sweep_id: str, decision: Decision) -> dict[str, Any]:
    return {"sweep_id": sweep_id, **decision.model_dump(), "action": decision.action.value}


def event_of(row: Row[Any]) -> Event:
    return Event(id=row.id, sweep_id=row.sweep_id, type=row.type, at=row.at, data=from_json(row.data))


def finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def badness(value: float | None, goal: str) -> float:
    if value is None:
        return math.inf
    return value if goal == "minimize" else -value
