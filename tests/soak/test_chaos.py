"""Several sweeps at once for many minutes, while whatever there is gets killed, again and again, the machine too.

`make soak` runs it. What ends must have ended as if nothing had happened, and whoever watched must have seen each event
once.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.conftest import HERE, Service, processes_of, until
from tests.integration.test_recovery import check_untouched
from toprung import Client
from toprung.client import SweepHandle
from toprung.errors import ToprungError
from toprung.tuning.records import SweepState

logger = logging.getLogger(__name__)
logging.getLogger("httpx").setLevel(logging.WARNING)

CHAOS_S = 15 * 60
SWEEPS = 3
VICTIMS = ("RunnerActor", "ControllerActor", "TrackerActor", "ServeReplica", "ImplicitFunc")
"""In the titles that Ray gives to processes; the last is a trial's worker."""
MACHINE, PAUSE = "the machine", "a pause"
ACTS = (*VICTIMS * 3, PAUSE, PAUSE, MACHINE)
ASHA = {"type": "asha", "max_t": 9, "grace_period": 1, "reduction_factor": 3}
KINDS: tuple[dict[str, Any], ...] = (
    {"search": {"algorithm": "random"}, "scheduler": {"type": "none"}, "budget": {"trials": 8}},
    {"search": {"algorithm": "tpe"}, "scheduler": {**ASHA, "mode": "promote"}, "budget": {"trials": 18}},
    {"search": {"algorithm": "auto"}, "scheduler": {**ASHA, "mode": "stop"}, "budget": {"trials": 18}},
    {"search": {"algorithm": "random"}, "scheduler": ASHA, "budget": {"trials": 9}, "preemption": True, "weight": 2},
)


class Watched:
    """A sweep, and a watcher of its events from its submission on."""

    def __init__(self, client: Client, number: int) -> None:
        kind = KINDS[number % len(KINDS)]
        self.same_configurations = kind["search"]["algorithm"] == "random"
        spec = {
            "name": f"chaos-{number}",
            "trainable": "trainables:learns_slowly",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
            "concurrency": 2,
            "failures": {"max_retries": 100},
            **kind,
            "search": {**kind["search"], "seed": number},
        }
        self.handle = client.submit(spec, code=HERE / "userland")
        self.seen: list[int] = []
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()

    def _watch(self) -> None:
        self.seen += [event.id for event in self.handle.events()]

    def check(self) -> None:
        assert self.handle.refresh().state is SweepState.SUCCEEDED, self.handle.record.reason
        check_untouched(self.handle, same_configurations=self.same_configurations)
        self._watcher.join(timeout=60)
        assert self.seen == [event.id for event in self.handle.events()]
        decisions = [(d.number, d.rung, d.action) for d in self.handle.decisions()]
        assert len(decisions) == len(set(decisions))


class Chaos:
    """A service with always some sweeps, and what happens to it."""

    def __init__(self, home: Path, rng: random.Random) -> None:
        self.service = Service(home, "--num-cpus", "2")
        self.client = Client(self.service.url)  # one for all times, across restarts
        self._rng = rng
        self._live: list[Watched] = []
        self._known: dict[str, int] = {}
        self.acts: Counter[str] = Counter()
        self.num_sweeps = 0

    def keep_busy(self) -> None:
        """As many sweeps as there should be; those that have ended are checked."""
        for watched in list(self._live):
            if watched.handle.refresh().state.finished:
                watched.check()
                self._live.remove(watched)
        while len(self._live) < SWEEPS:
            self._live.append(Watched(self.client, self.num_sweeps))
            self.num_sweeps += 1

    def act(self) -> None:
        """Once every running sweep has had a result since the last time: a third loss without one ends a sweep."""
        until(self._all_have_news, timeout_s=180, what="news of every sweep")
        time.sleep(self._rng.uniform(0, 1))  # so that it happens at any moment of a step
        act = self._rng.choice(ACTS)
        if act == MACHINE:
            self.service.kill()
            self.service = Service(self.service.home, "--num-cpus", "2", port=self.service.port)
        elif act == PAUSE:
            handle = self._rng.choice(self._live).handle
            with contextlib.suppress(ToprungError):  # it has ended meanwhile
                handle.pause()
                until(lambda: self._state(handle) is not SweepState.RUNNING, timeout_s=120, what="the pause")
                handle.resume()
        elif not self._kill(act):
            return
        self.acts[act] += 1

    def end(self) -> None:
        for watched in self._live:
            watched.handle.wait(timeout_s=300, progress=False)
            watched.check()
        self.client.close()

    def _kill(self, victim: str) -> bool:
        found = processes_of(self.service, victim)
        if not found:
            return False
        with contextlib.suppress(psutil.NoSuchProcess):
            self._rng.choice(found).kill()
        return True

    def _state(self, handle: SweepHandle) -> SweepState:
        return handle.refresh().state

    def _all_have_news(self) -> bool:
        now = {w.handle.id: w.handle.refresh() for w in self._live}
        if all(r.state.finished or r.num_results > self._known.get(id, 0) for id, r in now.items()):
            self._known = {id: record.num_results for id, record in now.items()}
            return True
        return False


@pytest.fixture
def chaos(tmp_path: Path) -> Iterator[Chaos]:
    made = Chaos(tmp_path / "home", random.Random(0))
    yield made
    made.service.stop()


@pytest.mark.soak
def test_sweeps_end_as_if_nothing_had_happened(chaos: Chaos) -> None:
    ends_at = time.monotonic() + CHAOS_S
    while time.monotonic() < ends_at:
        chaos.keep_busy()
        chaos.act()
    chaos.end()
    logger.info("%d sweeps; %s", chaos.num_sweeps, ", ".join(f"{n} × {act}" for act, n in chaos.acts.most_common()))
    assert chaos.num_sweeps > len(KINDS)
    assert set(chaos.acts) == set(ACTS)
