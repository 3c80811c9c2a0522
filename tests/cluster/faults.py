"""What a sweep does when machines go: its trials note each step in a file that all machines share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from tests.cluster.started import Started
from tests.integration.conftest import until

SPEC = """\
trainable: train:train
code: .
metric: {{name: loss, goal: minimize}}
parameters: {{x: {{type: float, low: 0, high: 1}}, gate: {gate}}}
search: {{algorithm: random, seed: 1}}
scheduler: {{type: none}}
failures: {{max_retries: 0}}
budget: {{trials: {trials}}}
concurrency: {trials}
tracking: {{tensorboard: false}}
"""
TRAIN = """\
import pathlib, socket, tempfile, time
from ray import tune

def train(config):
    gate, checkpoint, step = pathlib.Path(config["gate"]), tune.get_checkpoint(), 0
    if checkpoint:
        with checkpoint.as_directory() as folder:
            step = int(pathlib.Path(folder, "step").read_text())
    while True:
        step += 1
        with open(f"{gate}-{config['x']}", "a") as steps:
            steps.write(f"{step} {socket.gethostname()}\\n")
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "step").write_text(str(step))
            tune.report({"loss": config["x"] / step}, checkpoint=tune.Checkpoint.from_directory(folder))
        if gate.exists():
            return
        time.sleep(0.2)
"""
SLOW_S = 400.0
"""For what takes ten seconds by itself, on a busy machine."""


@dataclass(frozen=True)
class Recovery:
    """Of one trial whose machine went, in seconds after that."""

    noticed_s: float
    """Until the sweep knows."""
    recovered_s: float
    """Until the trial's next step is reported."""
    repeated: int
    """Steps that were trained twice."""


class Faults:
    """A sweep whose trials run until its gate opens."""

    def __init__(self, started: Started, name: str, trials: int) -> None:
        self._started, self._name = started, name
        self._gate = started.runs.parent / f"gate-{name}"
        started.submit(name, SPEC.format(gate=self._gate, trials=trials), TRAIN)
        self._trials = trials

    def places(self) -> dict[int, str]:
        """By trial: the machine that it last trained on; those that have not begun are not there."""
        steps = {trial["number"]: self._steps(trial) for trial in self._started.trials(self._name)}
        return {number: lines[-1][1] for number, lines in steps.items() if lines}

    def wait_until_all_train(self) -> dict[int, str]:
        """Each with a few checkpoints; by trial, where."""

        def all_train() -> bool:
            trials = self._started.trials(self._name)
            return len(trials) == self._trials and all(trial["step"] >= 3 for trial in trials)

        until(all_train, timeout_s=SLOW_S, what="all trials with a few steps")
        return self.places()

    def recovery_from(self, fault: Callable[[], None], number: int) -> Callable[[], Recovery]:
        """Lets something happen to a trial's machine, and waits until the trial trains elsewhere.

        Returns:
            What is known of it once the sweep is over.
        """
        before = self.places()[number]
        at = _now()
        fault()
        until(lambda: self.places()[number] != before, timeout_s=SLOW_S, what=f"trial {number} elsewhere")
        return lambda: self._recovery(number, at)

    def wait_for_more(self) -> None:
        """Until each trial has trained some more."""
        seen = {trial["number"]: trial["step"] for trial in self._started.trials(self._name)}
        until(
            lambda: all(trial["step"] > seen[trial["number"]] + 2 for trial in self._started.trials(self._name)),
            timeout_s=SLOW_S,
            what="more steps of all trials",
        )

    def finish(self) -> list[dict[str, Any]]:
        """Opens the gate; the trials, when the sweep is over."""
        self._gate.touch()
        self._started.wait(self._name, SLOW_S)
        return self._started.trials(self._name)

    def first_result_at(self) -> float:
        """Unix time of the first result of a sweep that is over."""
        return min(_time(event) for event in self._started.events(self._name) if event["type"] == "trial.results")

    def steps_missing(self) -> int:
        """Steps up to the last one that have no result, of all trials."""
        count = 0
        for trial in self._started.trials(self._name):
            results = self._started.get(f"/v1/sweeps/{self._name}/trials/{trial['number']}/results")["items"]
            count += len(set(range(1, trial["step"] + 1)) - {result["step"] for result in results})
        return count

    def _recovery(self, number: int, at: float) -> Recovery:
        events = [e for e in self._started.events(self._name) if e["data"].get("number") == number and _time(e) > at]
        states = [e for e in events if e["type"] == "trial.state"]
        noticed = next(e for e in states if e["data"]["state"] == "pending")
        again = next(e for e in events if e["type"] == "trial.results" and e["id"] > noticed["id"])
        trial = next(t for t in self._started.trials(self._name) if t["number"] == number)
        steps = [step for step, _ in self._steps(trial)]
        return Recovery(_time(noticed) - at, _time(again) - at, len(steps) - len(set(steps)))

    def _steps(self, trial: dict[str, Any]) -> list[tuple[int, str]]:
        """Each step that was begun, and on which machine."""
        file = Path(f"{self._gate}-{trial['params']['x']}")
        lines = file.read_text().splitlines() if file.exists() else []
        return [(int(step), machine) for step, machine in (line.split() for line in lines)]


def _now() -> float:
    return datetime.now().timestamp()


def _time(event: dict[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()
