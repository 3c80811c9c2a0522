"""Makers of sweeps and events, and a way to run the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from typer.testing import CliRunner

from toprung.cli import app
from toprung.tuning.records import Event, Sweep, SweepState
from toprung.tuning.spec import SweepSpec, spec_from

START = datetime(2026, 5, 1, 12, 0, tzinfo=UTC)


def make_spec(**fields: Any) -> SweepSpec:
    return spec_from(
        {
            "name": "digits-cnn",
            "trainable": "train:train_digits",
            "metric": {"name": "val_loss", "goal": "minimize"},
            "parameters": {
                "lr": {"type": "float", "low": 1e-4, "high": 1e-1, "log": True},
                "batch_size": {"type": "categorical", "choices": [16, 32, 64, 128]},
                "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
                "net": {"hidden": {"type": "int", "low": 16, "high": 128}},
                "epochs": 27,
            },
            "scheduler": {"type": "asha", "max_t": 27, "grace_period": 1, "reduction_factor": 3},
            "budget": {"trials": 50},
            **fields,
        }
    )


def make_sweep(**fields: Any) -> Sweep:
    plain: dict[str, Any] = {
        "id": "swp_1",
        "name": "digits-cnn",
        "state": SweepState.QUEUED,
        "spec": make_spec(),
        "created_at": START,
        "num_trials": 50,
    }
    return Sweep.model_validate(plain | fields)


def config(number: int) -> dict[str, Any]:
    return {
        "lr": 10 ** -(1 + number % 4),
        "batch_size": 16 * 2 ** (number % 4),
        "optimizer": ("sgd", "adam")[number % 2],
        "net": {"hidden": 16 + number % 100},
        "epochs": 27,
    }


class Story:
    """Events of one sweep, in order, a second apart."""

    def __init__(self) -> None:
        self._ids = count(1)

    def event(self, type: str, **data: Any) -> Event:
        number = next(self._ids)
        return Event(id=number, sweep_id="swp_1", type=type, at=START + timedelta(seconds=number), data=data)

    def sweep(self, state: str, reason: str | None = None) -> Event:
        return self.event("sweep.state", state=state, reason=reason)

    def trial(self, number: int, state: str, **data: Any) -> Event:
        plain = {"step": 0, "attempt": 1, "value": None, "best_step": None, "reason": None, "failure": None}
        return self.event("trial.state", number=number, state=state, **(plain | data))

    def starts(self, number: int) -> Event:
        return self.trial(number, "running", config=config(number))

    def result(self, number: int, step: int, value: float | None, **metrics: Any) -> Event:
        return self.event(
            "trial.results", number=number, step=step, count=1, value=value, metrics={"val_loss": value, **metrics}
        )

    def decision(self, number: int, rung: int, action: str, *, seen: int = 9) -> Event:
        grounds = {"bracket": 0, "rank": 7, "seen": seen, "cutoff": 0.35}
        return self.event("decision", number=number, rung=rung, action=action, **grounds)


@dataclass
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    @property
    def json_lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def run(*args: str, env: Mapping[str, str | None] | None = None) -> Outcome:
    """`toprung ARGS`, in this process."""
    result = CliRunner().invoke(app, list(args), env=env)
    return Outcome(result.exit_code, result.stdout, result.stderr)
