"""Checkpoints in an object store (moto on loopback) and in a folder: half of one never counts, what goes is gone."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.integration.conftest import HERE, WAIT_S, Service, free_port, until
from toprung.client import SweepHandle
from toprung.tuning.garbage import FileKind
from toprung.tuning.records import Action, SweepState, TrialState
from toprung.tuning.storage import StoredFolder

BUCKET = "s3://toprung-tests/runs"


@pytest.fixture(scope="module")
def store() -> Iterator[StoredFolder]:
    """A bucket's folder, in a store that this process and all that it starts know by their environment."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "moto.server", "--port", url.rpartition(":")[2]]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", url)
        patch.setenv("AWS_ACCESS_KEY_ID", "some")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        try:
            until(lambda: answers(f"{url}/toprung-tests"), timeout_s=120, what="the store")
            yield StoredFolder(BUCKET)
        finally:
            server.terminate()
            server.wait(timeout=60)


def answers(bucket: str) -> bool:
    """Whether the store is there and has made the bucket."""
    try:
        return httpx.put(bucket, timeout=10).is_success
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def with_store(store: StoredFolder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    home = tmp_path_factory.mktemp("stored") / "home"
    home.mkdir()
    (home / "config.yaml").write_text(f"storage: {store}\n")
    running = Service(home, "--num-cpus", "3")
    yield running
    running.stop()


def submit(service: Service, trainable: str, **changes: Any) -> SweepHandle:
    spec = {
        "name": trainable.replace("_", "-"),
        "trainable": f"trainables:{trainable}",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "search": {"algorithm": "random", "seed": 1},
        "budget": {"trials": 1},
        "tracking": {"tensorboard": False},
        **changes,
    }
    return service.client.submit(spec, code=HERE / "userland")


def check_what_was_broken_off_does_not_count(sweep: SweepHandle, folder: StoredFolder, download: Path) -> None:
    """Of a sweep of `dies_while_saving`, with the folder of its checkpoints."""
    sweep.wait(timeout_s=WAIT_S, progress=False)
    trial = sweep.trial(0)
    assert (trial.record.state, trial.record.attempt) == (TrialState.COMPLETED, 2), trial.record
    first = "".join(trial.logs()).splitlines()[0]
    assert first.startswith("from step 2, with "), first
    assert "with 0 parts" not in first, "an upload was broken off"
    assert [result.step for result in trial.results()] == [1, 2, 3, 4]

    trial.download_checkpoint(download)

    assert [path.name for path in download.iterdir()] == ["state.json"], "no part of what was broken off"
    assert json.loads((download / "state.json").read_text()) == {"step": 4}
    kept = trial.record.checkpoint
    assert kept is not None
    assert kept.size_bytes == len('{"step": 4}')
    until(lambda: list(folder.checkpoints()) == [tuple(kept.path.split("/")[-2:])], what="a tidy folder")


@pytest.mark.deep
def test_an_upload_to_a_store_that_is_killed_does_not_count(
    with_store: Service, store: StoredFolder, tmp_path: Path
) -> None:
    sweep = submit(with_store, "dies_while_saving")

    check_what_was_broken_off_does_not_count(sweep, store / sweep.id, tmp_path / "best")


def test_a_checkpoint_whose_copy_is_killed_does_not_count(service: Service, tmp_path: Path) -> None:
    sweep = submit(service, "dies_while_saving")

    folder = StoredFolder(str(service.home / "runs" / sweep.id))
    check_what_was_broken_off_does_not_count(sweep, folder, tmp_path / "best")


@pytest.mark.deep
def test_a_sweep_pauses_promotes_and_goes_on_from_a_store(
    with_store: Service, store: StoredFolder, tmp_path: Path
) -> None:
    scheduler = {"type": "asha", "max_t": 9, "grace_period": 1, "reduction_factor": 3, "mode": "promote"}
    sweep = submit(with_store, "learns_slowly", budget={"trials": 6}, scheduler=scheduler, concurrency=2)
    until(lambda: sum(t.record.state is TrialState.PAUSED for t in sweep.trials()) >= 2, timeout_s=120, what="pauses")

    sweep.pause()
    until(lambda: sweep.refresh().state is SweepState.PAUSED, timeout_s=120, what="the sweep's pause")
    sweep.resume()

    assert sweep.wait(timeout_s=WAIT_S, progress=False).state is SweepState.SUCCEEDED, sweep.record.reason
    assert [t.record.failure for t in sweep.trials()] == [None] * 6
    for trial in sweep.trials():
        assert [result.step for result in trial.results()] == list(range(1, 1 + trial.record.step))
    promoted = {decision.number for decision in sweep.decisions() if decision.action is Action.PROMOTE}
    assert promoted
    for number in promoted:
        lines = "".join(sweep.trial(number).logs()).splitlines()
        assert "from step 0" not in lines, "its last attempt goes on from the store"
    best = sweep.best().record
    assert best.checkpoint is not None
    assert best.checkpoint.path.startswith(f"{store}/{sweep.id}/")
    sweep.trial(best.number).download_checkpoint(tmp_path / "best")
    assert json.loads((tmp_path / "best" / "state.json").read_text()) == {"step": best.checkpoint.step}
    kept = [files for files in sweep.files() if files.kind is FileKind.CHECKPOINTS]
    assert [(files.paths, files.size_bytes > 0) for files in kept] == [([f"{store}/{sweep.id}"], True)]
    assert not (with_store.home / "runs" / sweep.id).exists()
    assert with_store.client.gc(dry_run=True).problems == []

    sweep.delete()

    until(lambda: not (store / sweep.id).exists(), what="the end of its objects")


def test_a_store_that_cannot_be_used_is_refused_at_the_start(store: StoredFolder, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("storage: s3://there-is-none/runs\n")

    ended = subprocess.run(
        [sys.executable, "-P", "-m", "toprung.serve", "--home", str(tmp_path), "--port", str(free_port())],
        capture_output=True,
        timeout=WAIT_S,
        check=False,
    )

    assert ended.returncode == 2, ended.stderr
    told = (tmp_path / "service.error").read_text()
    assert told.startswith("storage: s3://there-is-none/runs can't be used: ")
    assert told.endswith("Make the bucket, or correct its name.\n")
