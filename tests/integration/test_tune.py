"""Toprung's search and early stopping in a plain `ray.tune.Tuner`, on a Ray of the test's own."""

from __future__ import annotations

import json
import logging
import os
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import ray
from ray import tune
from ray.air.execution import ResourceRequest
from ray.tune.experiment import Trial
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import ConcurrencyLimiter
from ray.tune.search.optuna import OptunaSearch

from tests.integration.conftest import until
from toprung.tuning import ToprungScheduler, ToprungSearch
from toprung.tuning.run.groups import SettledGroups

SPACE = {"x": tune.uniform(0, 1), "shape": tune.choice([{"depth": 1}, {"depth": 2}]), "epochs": 9}
RUNGS = (1, 3, 9)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        # Tune's file loggers are slow, and leave their files open when an experiment is interrupted
        patch.setenv("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
        ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False, configure_logging=False)
        yield
        ray.shutdown()


def loss(config: dict[str, Any], step: int) -> float:
    """The better of two never changes with the steps."""
    return float((config["x"] - 0.3) ** 2 + config["shape"]["depth"] / 10 + 1 / step)


def learns(config: dict[str, Any]) -> None:
    """`count` is how many steps were made, over all runs of the trial."""
    count = 0
    checkpoint = tune.get_checkpoint()
    if checkpoint is not None:
        count = json.loads(Path(checkpoint.path, "count").read_text())
    while count < config["epochs"]:
        count += 1
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "count").write_text(json.dumps(count))
            tune.report({"loss": loss(config, count), "count": count}, checkpoint=tune.Checkpoint(folder))


def forgets(config: dict[str, Any]) -> None:
    for step in range(1, config["epochs"] + 1):
        tune.report({"loss": loss(config, step), "count": step})


class Learns(tune.Trainable):  # type: ignore[misc]
    """The same as a class."""

    def setup(self, config: dict[str, Any]) -> None:
        self.count = 0

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.config, self.count = new_config, 0
        return True

    def step(self) -> dict[str, Any]:
        self.count += 1
        return {"loss": loss(self.config, self.count), "count": self.count}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        Path(checkpoint_dir, "count").write_text(json.dumps(self.count))

    def load_checkpoint(self, checkpoint: str) -> None:
        self.count = json.loads(Path(checkpoint, "count").read_text())


class Worsens(tune.Trainable):  # type: ignore[misc]
    """Each trial is worse than those that started before it, so that the first are to go on soon."""

    def setup(self, config: dict[str, Any]) -> None:
        self.state = {"count": 0, "began": time.time()}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.setup(new_config)
        return True

    def step(self) -> dict[str, Any]:
        self.state["count"] += 1
        return {"loss": self.state["began"], "count": self.state["count"]}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, float]:
        return self.state

    def load_checkpoint(self, checkpoint: dict[str, float]) -> None:
        self.state = checkpoint


class Watch(tune.Callback):  # type: ignore[misc]
    """What happened, and an interruption after so many results."""

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.steps: dict[str, list[int]] = {}
        self.starts: list[str] = []
        self.most_running = 0
        self._left = interrupt_after

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        self.starts.append(trial.trial_id)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        self.steps.setdefault(trial.trial_id, []).append(result["count"])
        self.most_running = max(self.most_running, sum(trial.status == Trial.RUNNING for trial in trials))
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGINT)


Run = Callable[..., tuple[tune.ResultGrid, Watch]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    def run(
        trainable: Any,
        *,
        name: str = "run",
        watch: Watch | None = None,
        num_samples: int = 9,
        param_space: dict[str, Any] = SPACE,
        **tune_config: Any,
    ) -> tuple[tune.ResultGrid, Watch]:
        watch = watch or Watch()
        tuner = tune.Tuner(
            trainable,
            param_space=param_space,
            tune_config=tune.TuneConfig(
                metric="loss", mode="min", num_samples=num_samples, reuse_actors=True, **tune_config
            ),
            run_config=tune.RunConfig(name=name, storage_path=str(tmp_path), callbacks=[watch], verbose=0),
        )
        return tuner.fit(), watch

    return run


def scheduler(mode: str = "promote") -> ToprungScheduler:
    return ToprungScheduler(max_t=9, grace_period=1, reduction_factor=3, mode=mode)


def lasts(grid: tune.ResultGrid) -> list[int]:
    """The last step of each trial."""
    assert grid.num_errors == 0
    return [result.metrics["count"] for result in grid]


@pytest.mark.parametrize("trainable", [learns, Learns])
def test_trials_pause_and_the_best_go_on_from_their_checkpoints(run: Run, trainable: Any) -> None:
    grid, watch = run(trainable, search_alg=ToprungSearch(seed=0), scheduler=scheduler(), num_samples=12)

    reached = lasts(grid)
    assert len(reached) == 12
    assert set(reached) == set(RUNGS), "who stops, stops at a rung"
    for steps in watch.steps.values():
        assert steps == list(range(1, steps[-1] + 1)), "no step is missing or made twice"
    assert len(watch.starts) > 12, "some paused and went on"
    order = sorted(grid, key=lambda result: loss(result.config, 1))
    assert all(result.metrics["count"] > 1 for result in order[:4]), "the best third of 12 passes the lowest rung"
    best = order[0]
    assert best.metrics["count"] == 9
    assert set(best.config) == set(SPACE)
    assert best.config["epochs"] == 9


@pytest.mark.parametrize("searcher", ["none", "toprung", "optuna", "limiter"])
def test_paused_trials_need_no_place_under_a_limit(run: Run, searcher: str) -> None:
    makers: dict[str, Callable[[], Any]] = {
        "none": lambda: None,
        "toprung": lambda: ToprungSearch(seed=0),
        "optuna": lambda: OptunaSearch(seed=0),
        "limiter": lambda: ConcurrencyLimiter(ToprungSearch(seed=0), max_concurrent=2),
    }

    grid, watch = run(
        Worsens,
        param_space={"x": tune.uniform(0, 1)},
        search_alg=makers[searcher](),
        scheduler=scheduler(),
        max_concurrent_trials=None if searcher == "limiter" else 2,
    )

    assert sorted(lasts(grid)) == [1] * 6 + [3] * 2 + [9], "⌊9/3⌋ pass the first rung, ⌊3/3⌋ the second"
    assert watch.most_running <= 2
    fresh = [watch.starts.index(trial_id) for trial_id in dict.fromkeys(watch.starts)]
    assert fresh[-1] > 8, "the first go on before the last have started"


def test_the_search_beside_tunes_own_scheduler(run: Run) -> None:
    asha = ASHAScheduler(max_t=9, grace_period=1, reduction_factor=3)

    grid, _ = run(learns, search_alg=ToprungSearch(seed=0, rungs=RUNGS), scheduler=asha, num_samples=12)

    assert len(lasts(grid)) == 12
    assert {1, 9} <= set(lasts(grid)) <= set(RUNGS)


def test_trials_without_checkpoints_are_stopped_instead(run: Run, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "toprung"):
        grid, watch = run(forgets, search_alg=ToprungSearch(seed=0), scheduler=scheduler())

    assert len(watch.starts) == len(lasts(grid)) == 9
    warnings = [record.message for record in caplog.records if record.name.startswith("toprung")]
    assert len(warnings) == 1
    assert "had reported no checkpoint by rung 1" in warnings[0]
    assert "tune.report(metrics, checkpoint=…)" in warnings[0]


@pytest.mark.deep
def test_a_tuner_interrupted_again_and_again_ends_as_an_unbroken_one(run: Run, tmp_path: Path) -> None:
    def history(grid: tune.ResultGrid) -> list[tuple[float, int]]:
        return sorted((result.config["x"], result.metrics["count"]) for result in grid)

    def setting() -> dict[str, Any]:
        # one at a time: with more the order of the results would be a matter of chance
        return {
            "search_alg": ToprungSearch(seed=0),
            "scheduler": scheduler(),
            "max_concurrent_trials": 1,
            "num_samples": 8,
        }

    whole, watch = run(learns, name="whole", **setting())
    assert 9 in lasts(whole)
    assert len(watch.starts) > 8, "some paused and went on"

    grid, _ = run(learns, name="broken", watch=Watch(interrupt_after=8), **setting())
    restorations = 0
    while history(grid) != history(whole) and restorations < 10:
        # its callbacks come with it, and interrupt it again
        grid = tune.Tuner.restore(str(tmp_path / "broken"), trainable=learns).fit()
        restorations += 1

    assert history(grid) == history(whole)
    assert restorations >= 2
    finished = tune.Tuner.restore(str(tmp_path / "broken"), trainable=learns).fit()
    assert history(finished) == history(whole), "what was stopped stays stopped"


def test_groups_that_are_given_up_at_once_leave_nothing_taken() -> None:
    """Of 200 of Ray's own manager, about ten do, for good."""
    manager, request = SettledGroups(), ResourceRequest([{"CPU": 0.01}])
    for _ in range(200):
        manager.request_resources(request)
        manager.cancel_resource_request(request)
        manager.get_resource_futures()
    manager.clear()
    total = ray.cluster_resources()["CPU"]
    until(lambda: ray.available_resources().get("CPU") == total, what="all CPUs free again")
