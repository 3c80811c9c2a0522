"""`make soak`: ten processes of a service killed at random while a sweep runs."""

from __future__ import annotations

import contextlib
import logging
import os
import random
import signal
import time
from collections.abc import Iterator

import psutil
import pytest

from tests.integration.conftest import HERE, Service, until
from tests.integration.test_recovery import STEPS, check_untouched
from toprung.client import SweepHandle
from toprung.errors import ToprungError
from toprung.tuning.records import SweepState

logger = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)

KILLS = 10
TRIALS = 48
VICTIMS = ("RunnerActor", "ControllerActor", "ServeReplica", "ImplicitFunc")
"""In the titles that Ray gives to processes; the last is a trial's worker."""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    running = Service(tmp_path_factory.mktemp("soak") / "home", "--num-cpus", "2")
    yield running
    running.stop()


def kill_one(service: Service, rng: random.Random) -> str:
    """Returns the title of what was killed."""
    found: dict[str, list[psutil.Process]] = {}
    for process in psutil.Process(service.process.pid).children(recursive=True):
        with contextlib.suppress(psutil.Error):
            title = "".join(process.cmdline()[:1])
            for victim in VICTIMS:
                if victim in title:
                    found.setdefault(victim, []).append(process)
    victim = rng.choice(sorted(found))
    os.kill(rng.choice(found[victim]).pid, signal.SIGKILL)
    return victim


def num_results(sweep: SweepHandle) -> int:
    with contextlib.suppress(ToprungError):  # its replica is the one that was killed
        return sweep.refresh().num_results
    return 0


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("algorithm", ["random", "tpe"])
def test_ten_kills_change_nothing(service: Service, algorithm: str, seed: int) -> None:
    rng = random.Random(seed)
    sweep = service.client.submit(
        {
            "name": f"soak-{algorithm}-{seed}",
            "trainable": "trainables:learns_slowly",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
            "search": {"algorithm": algorithm, "seed": seed},
            "scheduler": {"type": "none"},
            "budget": {"trials": TRIALS},
            "concurrency": 2,
            "failures": {"max_retries": KILLS},
        },
        code=HERE / "userland",
    )
    killed: list[str] = []
    known = 0
    while len(killed) < KILLS and not sweep.state.finished:
        until(lambda: num_results(sweep) > known or sweep.state.finished, timeout_s=120, what="a result")  # noqa: B023
        known = num_results(sweep)
        time.sleep(rng.uniform(0, 1))  # so that the next one dies at any moment of a step
        killed.append(kill_one(service, rng))
    logger.info("killed: %s", ", ".join(killed))
    assert len(killed) == KILLS, "the sweep ended too soon"

    assert sweep.wait(timeout_s=300, progress=False).state is SweepState.SUCCEEDED
    check_untouched(sweep, same_configurations=algorithm == "random")
    assert all(trial.record.step == STEPS for trial in sweep.trials())
