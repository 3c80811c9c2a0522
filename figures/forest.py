"""Optuna's fANOVA (Hutter et al., ICML 2014) in a process of its own, for seconds: `shares_of` starts it and waits.

In the service's process it would hold the interpreter's lock, so that nobody else is answered, and leave 120 MB of
libraries behind.

    python -m toprung.figures.forest < {"values": […], "parameters": {name: {…}}, "trees": 32}
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any

_TIMEOUT_S = 300.0


def shares_of(values: Sequence[float], parameters: Mapping[str, Mapping[str, Any]], trees: int) -> dict[str, float]:
    """By parameter, its share of what makes values differ.

    Args:
        values: less is better or worse, all the same.
        parameters: of each its `values`, and `choices`, or `low`, `high`, `log` and `whole`.
        trees: of the forest.

    Raises:
        RuntimeError: the process failed; says of what.
    """
    sent = json.dumps({"values": values, "parameters": parameters, "trees": trees})
    command = [sys.executable, "-P", "-m", "toprung.figures.forest"]
    done = subprocess.run(command, input=sent, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False)
    if done.returncode:
        raise RuntimeError(f"the importance of parameters: {done.stderr[-2_000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _grow(values: Sequence[float], parameters: Mapping[str, Mapping[str, Any]], trees: int) -> dict[str, float]:
    import optuna  # noqa: PLC0415  only the process of its own has it

    distributions = {name: _distribution(optuna.distributions, of) for name, of in parameters.items()}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study()
    study.add_trials(
        [
            optuna.trial.create_trial(
                params={name: of["values"][i] for name, of in parameters.items()},
                distributions=distributions,
                value=value,
            )
            for i, value in enumerate(values)
        ]
    )
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=trees, seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator, params=list(parameters))
    return {name: float(share) for name, share in found.items() if math.isfinite(share)}


def _distribution(kinds: Any, of: Mapping[str, Any]) -> Any:
    if "choices" in of:
        return kinds.CategoricalDistribution(of["choices"])
    kind = kinds.IntDistribution if of["whole"] else kinds.FloatDistribution
    return kind(of["low"], of["high"], log=of["log"])


if __name__ == "__main__":
    os.nice(10)  # who waits for a page comes first
    json.dump(_grow(**json.load(sys.stdin)), sys.stdout)
