"""Sweeps with trials, results and decisions, written into a store."""

from __future__ import annotations

from typing import Any

from toprung.serve.store import Store
from toprung.tuning.records import Action, Batch, Decision, Result, Sweep, SweepState, Trial, TrialState, utc_now
from toprung.tuning.spec import parse_spec

SPEC = """\
trainable: train:train
metric: {name: loss, goal: GOAL}
parameters:
  lr: {type: float, low: 1e-4, high: 1.0, log: true}
  optimizer: {type: categorical, choices: [sgd, adam]}
  momentum: {type: float, low: 0.0, high: 1.0, when: {optimizer: sgd}}
  model: {depth: {type: int, low: 1, high: 8}}
scheduler: SCHEDULER
budget: {trials: 100}
"""
ASHA = "{type: asha, max_t: 9, grace_period: 1, reduction_factor: 3}"


def swept(store: Store, goal: str = "minimize", scheduler: str = ASHA) -> Sweep:
    text = SPEC.replace("GOAL", goal).replace("SCHEDULER", scheduler)
    sweep, _ = store.create_sweep(parse_spec(text), name="demo", num_trials=100)
    return store.set_sweep_state(sweep.id, SweepState.RUNNING)


def trial(sweep: Sweep, number: int, **more: Any) -> Trial:
    params: dict[str, Any] = {"lr": 10 ** -(number % 4 + 0.5), "optimizer": "adam", "model/depth": number % 8 + 1}
    if number % 3 == 0:
        params |= {"optimizer": "sgd", "momentum": number % 10 / 10}
    usual: dict[str, Any] = {
        "state": TrialState.RUNNING,
        "params": params,
        "config": params,
        "attempt": 1,
        "step": 1,
        "created_at": utc_now(),
        "started_at": utc_now(),
    }
    return Trial(sweep_id=sweep.id, number=number, **(usual | more))


def result(number: int, step: int, loss: float, **metrics: Any) -> Result:
    return Result(
        number=number,
        step=step,
        attempt=1,
        reported_at=utc_now(),
        time_total_s=float(step),
        metrics={"loss": loss, **metrics},
    )


def decision(number: int, rung: int, action: Action, value: float) -> Decision:
    return Decision(
        number=number,
        attempt=1,
        rung=rung,
        bracket=0,
        action=action,
        value=value,
        cutoff=0.5,
        rank=number + 1,
        seen=20,
        places=6,
        decided_at=utc_now(),
    )


def loss_of(number: int, step: int = 1) -> float:
    return round(((number * 7) % 20 + 1) / 20 + 0.5 / step, 4)


def filled(store: Store, sweep: Sweep, numbers: range = range(20)) -> Sweep:
    """Trials of nine steps, those that are good, and of one."""
    trials, results, decisions = [], [], []
    for number in numbers:
        good = number % 3 == 0
        steps = 9 if good else 1
        best = min(loss_of(number, step) for step in range(1, steps + 1))
        state = TrialState.COMPLETED if good else TrialState.PRUNED
        last = {"loss": loss_of(number, steps), "note": f"=cmd({number})", "size": number}
        reason = None if good else f"stopped at rung 1: <b>{number}</b>"
        trials.append(
            trial(sweep, number, state=state, step=steps, value=best, best_step=steps, metrics=last, reason=reason)
        )
        results += [result(number, step, loss_of(number, step), size=number) for step in range(1, steps + 1)]
        decisions.append(decision(number, 1, Action.PROMOTE if good else Action.STOP, loss_of(number)))
    store.write(Batch(sweep_id=sweep.id, trials=trials, results=results, decisions=decisions))
    return store.get_sweep(sweep.id)
