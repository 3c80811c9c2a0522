"""A sweep without a trial: Ray Tune loads much of what it needs when it is first used."""

from __future__ import annotations

import tempfile
from typing import Any

from ray.tune import Callback, RunConfig, TuneConfig, Tuner
from ray.tune.search import Searcher

from toprung.tuning.run.telemetry import count_no_callbacks


def warm_up() -> None:
    """Runs a sweep whose searcher has nothing to suggest."""
    count_no_callbacks()
    with tempfile.TemporaryDirectory() as folder:
        Tuner(
            _nothing,
            tune_config=TuneConfig(search_alg=_Silent(metric="loss", mode="min")),
            run_config=RunConfig(storage_path=folder, callbacks=[Callback()], verbose=0),
        ).fit()


def _nothing(config: dict[str, Any]) -> None:
    """Never called."""


class _Silent(Searcher):  # type: ignore[misc]
    def suggest(self, trial_id: str) -> Any:
        return Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """There is no trial."""

    def save(self, checkpoint_path: str) -> None:
        """There is nothing to save."""

    def restore(self, checkpoint_path: str) -> None:
        """There is nothing to restore."""
