"""The disk of the service's home is full, or the machine's memory, while sweeps run: nothing is lost, nothing doubled.

The disk is a small one of its own; what Ray writes for itself lies elsewhere. How much memory is used the service's Ray
reads in a control group that the test writes: filling a machine would hit others on it.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.conftest import HERE, Service, processes_of, until
from tests.integration.test_recovery import STEPS, check_untouched, has_come_to
from toprung.client import SweepHandle, TrialHandle
from toprung.tuning.records import FailureKind, SweepState, TrialState

DISK = "32m"
MEMORY_BYTES = 8 * 1024**3
TOO_MUCH = 0.96
"""Ray begins to kill at 0.95."""

IN_A_GROUP = 'mount --bind "$0" /sys/fs/cgroup && exec "$@"'
REFRESH_MS = 2_000
"""How often Ray looks: the test must have said in between that what it killed is gone."""


class Machine(Service):
    """A service on a disk and in a control group of its own."""

    def __init__(self, home: Path) -> None:
        self.group = home.parent / "cgroup"
        (self.group / "memory").mkdir(parents=True)
        self.use_memory(0.1)
        within = ["unshare", "--mount", "sh", "-c", IN_A_GROUP, str(self.group)]
        within += ["env", f"RAY_memory_monitor_refresh_ms={REFRESH_MS}"]
        super().__init__(home, "--num-cpus", "4", within=within)

    def use_memory(self, frac: float) -> None:
        used = int(frac * MEMORY_BYTES)
        stat = f"cache 0\nrss {used}\ntotal_cache 0\ntotal_rss {used}\ntotal_inactive_file 0\ntotal_active_file 0\n"
        files = {"limit_in_bytes": f"{MEMORY_BYTES}\n", "usage_in_bytes": f"{used}\n", "stat": stat}
        for name, text in files.items():
            draft = self.group / "draft"
            draft.write_text(text)
            draft.replace(self.group / "memory" / f"memory.{name}")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    home = tmp_path_factory.mktemp("scarce") / "home"
    home.mkdir()
    need(["unshare", "--mount", "true"])
    need(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "toprung-test", str(home)])
    try:
        running = Machine(home)
        yield running
        running.stop()
    finally:
        subprocess.run(["umount", "--lazy", str(home)], check=True)


def need(command: list[str]) -> None:
    """Runs it; what may not be done here skips the tests."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]} here")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a disk and a control group of one's own can't be had here: {done.stderr.strip()}")


@contextmanager
def full(service: Machine) -> Iterator[None]:
    """The service's disk has no byte left."""
    filler = service.home / "filler"
    try:
        until(lambda: fill(filler) and refusal(service), what="a full disk")
        yield
    finally:
        filler.unlink()


def fill(filler: Path) -> bool:
    with suppress(OSError), filler.open("ab", buffering=0) as file:
        while True:
            file.write(bytes(1024 * 1024))
    return True


def spec(trainable: str, **changes: Any) -> dict[str, Any]:
    return {
        "trainable": f"trainables:{trainable}",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}, **changes.pop("constants", {})},
        "search": {"algorithm": "random", "seed": 1},
        "budget": {"trials": 2},
        "failures": {"max_retries": 0},
        "tracking": {"tensorboard": False},
        **changes,
    }


def refusal(service: Machine) -> httpx.Response | None:
    """The answer to a submission, where it is none that accepts it."""
    answer = httpx.post(f"{service.url}/v1/sweeps", json={**spec("good"), "trainable": "math:exp"}, timeout=60)
    return None if answer.is_success else answer


def submitted(service: Machine, trainable: str, **changes: Any) -> SweepHandle:
    return service.client.submit(spec(trainable, **changes), code=HERE / "userland")


@pytest.mark.deep
def test_a_full_disk_holds_sweeps_up_and_loses_nothing(service: Machine, tmp_path: Path) -> None:
    words = {"words": str(tmp_path)}
    saving = submitted(service, "goes_on_when_told", concurrency=2, constants={**words, "saves": True})
    telling = submitted(service, "goes_on_when_told", concurrency=1, constants={**words, "saves": False})
    until(lambda: has_come_to(saving, 3) and has_come_to(telling, 3), timeout_s=120, what="trials on their way")

    with full(service):
        (tmp_path / "go").touch()

        refused = refusal(service)
        assert refused is not None
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable"), refused.text
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["retry-after"] == "1"
        assert "no space left" in refused.json()["detail"]

        upload = uploaded(service, zipped(bytes(100_000)))
        assert (upload.status_code, upload.json()["code"]) == (503, "unavailable"), upload.text
        assert not list((service.home / "packages").glob(".upload-*"))

        until(
            lambda: len(list(tmp_path.glob("ended-*"))) == 2, timeout_s=120, what="the end of trials that save nothing"
        )
        assert saving.refresh().state is telling.refresh().state is SweepState.RUNNING
        assert telling.record.num_results < 2 * STEPS

    for sweep in (saving, telling):
        assert sweep.wait(timeout_s=120, progress=False).state is SweepState.SUCCEEDED, sweep.record.reason
        check_untouched(sweep)
        trials = [t.record for t in sweep.trials()]
        assert {(t.state, t.step, t.attempt) for t in trials} == {(TrialState.COMPLETED, STEPS, 1)}
    for trial in saving.trials():
        said = until(lambda trial=trial: read_if_whole(trial), what="the log")  # type: ignore[misc]
        assert said[0] == "begins"
        assert said[-1] == "ends"
        assert any("the disk is full, waiting for room" in line for line in said)


def test_a_trial_that_eats_all_memory(service: Machine, tmp_path: Path) -> None:
    """Ray 2.60 kills what it can start again, our controller too, and then the youngest, until there is enough."""
    sweep = submitted(service, "eats_memory", budget={"trials": 1}, constants={"words": str(tmp_path)})
    until((tmp_path / "eats").exists, timeout_s=120, what="the trial on its way")
    (worker,) = processes_of(service, "ImplicitFunc")

    service.use_memory(TOO_MUCH)
    worker.wait(30)
    service.use_memory(0.1)

    assert sweep.wait(timeout_s=120, progress=False).state is SweepState.FAILED
    trial = sweep.trial(0)
    assert trial.record.failure is not None
    assert trial.record.failure.kind is FailureKind.HOST_OOM, trial.record.failure
    assert trial.record.failure.message == "the host ran out of memory and Ray killed the worker"
    assert [r.step for r in trial.results()] == [1]


def uploaded(service: Machine, package: bytes) -> httpx.Response:
    url = f"{service.url}/v1/packages/{sha256(package).hexdigest()}"
    return httpx.put(url, content=package, headers={"Content-Type": "application/zip"}, timeout=60)


def zipped(code: bytes) -> bytes:
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("train.py", code)
    return package.getvalue()


def read_if_whole(trial: TrialHandle) -> list[str]:
    """The lines of a log that has come to its end."""
    lines = "".join(trial.logs()).splitlines()
    return lines if lines[-1:] == ["ends"] else []
