"""A sweep begins without W&B being loaded to count its callbacks."""

from __future__ import annotations

import subprocess
import sys

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


def test_callbacks_are_not_counted() -> None:
    assert loads_wandb(), "Tune does no more what is switched off: telemetry.py can go"
    assert not loads_wandb("without")
