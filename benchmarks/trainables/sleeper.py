"""A trial that only sleeps: it holds its place and takes no CPU."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from ray import tune


def sleeps(config: dict[str, Any]) -> None:
    """Takes `seconds`, a quarter more or less by chance, so that trials that began together don't end together."""
    start, checkpoint = 0, tune.get_checkpoint()
    if checkpoint is not None:
        with checkpoint.as_directory() as folder:
            start = json.loads((Path(folder) / "state.json").read_text())["step"]
    for step in range(start + 1, 1 + config["steps"]):
        time.sleep(config["seconds"] * (0.75 + config["x"] / 2) / config["steps"])
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "state.json").write_text(json.dumps({"step": step}))
            tune.report({"value": config["x"]}, checkpoint=tune.Checkpoint.from_directory(folder))
