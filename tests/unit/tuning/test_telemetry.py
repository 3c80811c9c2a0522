"""What of Ray Tune is switched off, and why: when it does no more what it did, the switch can go."""

from __future__ import annotations

import os
import subprocess
import sys

from toprung.tuning.run.actor import TUNE_ENV

BEGINNING = """
import sys
from ray.air._internal import usage
from ray.tune import Callback
from toprung.tuning.run.telemetry import count_no_callbacks

if sys.argv[1:] == ["without"]:
    count_no_callbacks()
usage.tag_callbacks([Callback()])
print("wandb" in sys.modules)
"""


def loads_wandb(*arguments: str) -> bool:
    done = subprocess.run([sys.executable, "-c", BEGINNING, *arguments], capture_output=True, text=True, check=True)
    return done.stdout.split()[-1] == "True"


WAITING = """
import time
from ray.tune.execution.insufficient_resources_manager import _InsufficientResourcesManager

waiting, began = _InsufficientResourcesManager(), time.monotonic()
for minute in range(4):
    time.monotonic = lambda: began + 60 * minute
    waiting.on_no_available_trials([])
"""


def test_a_sweep_may_wait_for_its_share_without_a_trial() -> None:
    """A clock that runs ahead, since Tune's warning comes after a minute."""

    def waits(**env: str) -> bool:
        return (
            subprocess.run([sys.executable, "-c", WAITING], capture_output=True, env={**os.environ, **env}).returncode
            == 0
        )

    assert not waits(), "Tune's warning doesn't fail any more: the switch in actor.py can go"
    assert waits(**TUNE_ENV)


def test_callbacks_are_not_counted() -> None:
    assert loads_wandb(), "Tune does no more what is switched off: telemetry.py can go"
    assert not loads_wandb("without")
