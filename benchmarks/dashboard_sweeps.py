"""The sweeps of dashboard.py, and the same study for optuna-dashboard.

Learning curves of a formula, stopped as ASHA would: of three trials one reaches the next rung (1, 3, 9, 27, 81). Longer
ones are as many as it takes for 20 results a trial. Into the store by `Store.write`, as a runner does; into Optuna's
SQLite in bulk by its own tables, since its API takes hours for a million intermediate values.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution, distribution_to_json
from sqlalchemy import MetaData, create_engine

from toprung.serve.store import Store
from toprung.tuning.records import Action, Batch, Decision, Result, SweepState, Trial, TrialState, utc_now
from toprung.tuning.spec import parse_spec

SPEC = """
trainable: train:train
metric: {name: val_loss, goal: minimize}
parameters:
  lr: {type: float, low: 1e-4, high: 1e-1, log: true}
  batch_size: {type: categorical, choices: [16, 32, 64, 128]}
  optimizer: {type: categorical, choices: [sgd, adam]}
  momentum: {type: float, low: 0.0, high: 0.95, when: {optimizer: sgd}}
  depth: {type: int, low: 1, high: 8}
  dropout: {type: float, low: 0.0, high: 0.6}
scheduler: {type: asha, max_t: 81, grace_period: 1, reduction_factor: 3}
budget: {trials: 50000}
"""
RUNGS = (1, 3, 9, 27, 81)
REACH = (0.17, 0.235, 0.22, 0.245, 0.13)
"""Of the trials, how many end at each rung: 20 results a trial."""
DISTRIBUTIONS: dict[str, Any] = {
    "lr": FloatDistribution(1e-4, 1e-1, log=True),
    "batch_size": CategoricalDistribution((16, 32, 64, 128)),
    "optimizer": CategoricalDistribution(("sgd", "adam")),
    "momentum": FloatDistribution(0.0, 0.95),
    "depth": IntDistribution(1, 8),
    "dropout": FloatDistribution(0.0, 0.6),
}
_AT_ONCE = 1_000


def params_of(number: int) -> dict[str, Any]:
    rng = random.Random(number)
    params: dict[str, Any] = {
        "lr": 10 ** rng.uniform(-4, -1),
        "batch_size": rng.choice((16, 32, 64, 128)),
        "optimizer": rng.choice(("sgd", "adam")),
    }
    if params["optimizer"] == "sgd":
        params["momentum"] = rng.uniform(0, 0.95)
    return params | {"depth": rng.randint(1, 8), "dropout": rng.uniform(0, 0.6)}


def curve_of(number: int, params: dict[str, Any]) -> list[float]:
    """Its objective by step."""
    rng = random.Random(-number - 1)
    steps = rng.choices(RUNGS, REACH)[0]
    floor = 0.05 + 0.3 * (math.log10(params["lr"]) + 2.5) ** 2 + 0.03 * abs(params["depth"] - 5) + 0.1 * rng.random()
    return [floor + 2.3 * math.exp(-0.4 * math.sqrt(step)) + rng.gauss(0, 0.01) for step in range(1, steps + 1)]


def fill_store(url: str, count: int) -> tuple[str, int]:
    """A finished sweep of so many trials; its id, and how many results it has."""
    store = Store(url)
    try:
        sweep, _ = store.create_sweep(parse_spec(SPEC), name=f"big-{count}", num_trials=count)
        store.set_sweep_state(sweep.id, SweepState.RUNNING)
        for start in range(0, count, _AT_ONCE):
            store.write(_batch(sweep.id, range(start, min(count, start + _AT_ONCE))))
        return sweep.id, store.set_sweep_state(sweep.id, SweepState.SUCCEEDED).num_results
    finally:
        store.close()


def _batch(sweep_id: str, numbers: range) -> Batch:
    now = utc_now()
    trials, results, decisions = [], [], []
    for number in numbers:
        params = params_of(number)
        curve = curve_of(number, params)
        steps, best = len(curve), min(curve)
        metrics = [{"val_loss": value, "train_loss": value * 0.9, "accuracy": 1 - value / 4} for value in curve]
        results += [
            Result(number=number, step=i + 1, attempt=1, reported_at=now, time_total_s=i + 1.0, metrics=found)
            for i, found in enumerate(metrics)
        ]
        for rung in (rung for rung in RUNGS[:-1] if rung <= steps):
            action = Action.PROMOTE if rung < steps else Action.STOP
            decisions.append(_decision(number, rung, action, curve[rung - 1], now))
        trials.append(
            Trial(
                sweep_id=sweep_id,
                number=number,
                state=TrialState.COMPLETED if steps == RUNGS[-1] else TrialState.PRUNED,
                params=params,
                config=params,
                attempt=1,
                step=steps,
                value=best,
                best_step=curve.index(best) + 1,
                metrics=metrics[-1],
                reason=None if steps == RUNGS[-1] else f"stopped at rung {steps}: {curve[-1]:.6g}",
                created_at=now,
                started_at=now,
                ended_at=now,
            )
        )
    return Batch(sweep_id=sweep_id, trials=trials, results=results, decisions=decisions)


def _decision(number: int, rung: int, action: Action, value: float, now: datetime) -> Decision:
    seen = number + 1
    return Decision(
        number=number,
        attempt=1,
        rung=rung,
        bracket=0,
        action=action,
        value=value,
        cutoff=value,
        rank=max(1, seen // 3),
        seen=seen,
        places=max(1, seen // 3),
        decided_at=now,
    )


def fill_optuna(file: Path, count: int) -> str:
    """The same trials as a study; the URL of its storage."""
    url = f"sqlite:///{file}"
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(study_name=f"big-{count}", storage=url, direction="minimize")
    engine = create_engine(url)
    tables = MetaData()
    tables.reflect(engine)
    with engine.begin() as connection:
        for start in range(0, count, _AT_ONCE):
            for name, rows in _study_rows(study._study_id, range(start, min(count, start + _AT_ONCE))):
                connection.execute(tables.tables[name].insert(), rows)
    engine.dispose()
    return url


def _study_rows(study_id: int, numbers: range) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    now = datetime.now()
    encoded = {name: distribution_to_json(distribution) for name, distribution in DISTRIBUTIONS.items()}
    trials, values, params, steps = [], [], [], []
    for number in numbers:
        trial_id, drawn = number + 1, params_of(number)
        curve = curve_of(number, drawn)
        state = "COMPLETE" if len(curve) == RUNGS[-1] else "PRUNED"
        times = {"datetime_start": now, "datetime_complete": now}
        trials.append({"trial_id": trial_id, "number": number, "study_id": study_id, "state": state, **times})
        values.append({"trial_id": trial_id, "objective": 0, "value": min(curve), "value_type": "FINITE"})
        params += [
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": DISTRIBUTIONS[name].to_internal_repr(value),
                "distribution_json": encoded[name],
            }
            for name, value in drawn.items()
        ]
        steps += [
            {
                "trial_id": trial_id,
                "step": i + 1,
                "intermediate_value": value,
                "intermediate_value_type": "FINITE",
            }
            for i, value in enumerate(curve)
        ]
    yield from (
        ("trials", trials),
        ("trial_values", values),
        ("trial_params", params),
        ("trial_intermediate_values", steps),
    )
