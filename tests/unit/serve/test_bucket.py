"""Checkpoints in a bucket: how large, sent, removed. Arrow's own file system in memory stands for the store."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from toprung.serve.home import Home
from toprung.serve.http.app import create_app
from toprung.serve.retention.collection import clean_up
from toprung.serve.retention.deletion import Remover
from toprung.serve.retention.files import files_of, measured
from toprung.serve.store import Store
from toprung.serve.store.ids import new_sweep_id
from toprung.tuning import storage
from toprung.tuning.garbage import CleanUp, FileKind
from toprung.tuning.records import Batch, CheckpointRef, Sweep, SweepState, Trial, TrialState, utc_now
from toprung.tuning.spec import spec_from
from toprung.tuning.storage import StoredFolder


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[StoredFolder]:
    monkeypatch.setattr(storage, "SCHEMES", ("mock",))
    storage._filesystem.cache_clear()
    yield StoredFolder("mock://bucket/runs")
    storage._filesystem.cache_clear()


@pytest.fixture
def home(tmp_path: Path, bucket: StoredFolder) -> Home:
    (tmp_path / "config.yaml").write_text(f"storage: {bucket}\n")
    return Home.at(tmp_path)


def put(folder: StoredFolder, name: str, data: bytes) -> None:
    folder.filesystem.create_dir(folder.path)
    with folder.filesystem.open_output_stream(f"{folder.path}/{name}") as file:
        file.write(data)


@pytest.fixture
def sweep(store: Store, bucket: StoredFolder) -> Sweep:
    """One that has ended, with a checkpoint that its trial names and one that was broken off."""
    made, _ = store.create_sweep(
        spec_from(
            {
                "trainable": "train:train",
                "metric": {"name": "loss", "goal": "minimize"},
                "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
                "budget": {"trials": 1},
            }
        ),
        name="digits",
        num_trials=1,
    )
    store.set_sweep_state(made.id, SweepState.RUNNING)
    kept = bucket / made.id / "000000" / "checkpoint_000001-ab"
    put(kept, "model.pt", b"weights")
    put(kept, "state.json", b"{}")
    put(bucket / made.id / "000000" / "checkpoint_000001-cd", "model.pt", b"wei")
    trial = Trial(
        sweep_id=made.id,
        number=0,
        state=TrialState.RUNNING,
        params={"x": 0.5},
        config={"x": 0.5},
        attempt=1,
        step=2,
        checkpoint=CheckpointRef(step=2, path=str(kept), size_bytes=9),
        created_at=utc_now(),
    )
    store.write(Batch(sweep_id=made.id, trials=[trial]))
    return store.set_sweep_state(made.id, SweepState.SUCCEEDED)


def found(done: CleanUp) -> dict[FileKind, tuple[list[str], int]]:
    return {files.kind: (files.paths, files.size_bytes) for files in done.items}


def test_what_a_sweep_has_there(home: Home, bucket: StoredFolder, sweep: Sweep) -> None:
    (folder,) = files_of(home, sweep)[FileKind.CHECKPOINTS]

    assert str(folder) == f"{bucket}/{sweep.id}"
    assert measured(folder)[0] == 12
    assert measured(folder)[1] > 0


def test_what_was_broken_off_is_removed(home: Home, store: Store, bucket: StoredFolder, sweep: Sweep) -> None:
    torn = f"{bucket}/{sweep.id}/000000/checkpoint_000001-cd"
    said = clean_up(store, home, dry_run=True)

    done = clean_up(store, home, dry_run=False)

    assert found(said) == found(done) == {FileKind.LOST_CHECKPOINTS: ([torn], 3)}
    assert (bucket / sweep.id).checkpoints() == {("000000", "checkpoint_000001-ab"): 9}


def test_what_is_old_is_removed(home: Home, store: Store, bucket: StoredFolder, sweep: Sweep) -> None:
    assert sweep.ended_at is not None

    done = clean_up(store, home, dry_run=False, older_than_s=1, now=sweep.ended_at.timestamp() + 2)

    assert found(done) == {FileKind.OLD_CHECKPOINTS: ([f"{bucket}/{sweep.id}"], 12)}
    assert bucket.names() == []
    assert store.get_trial(sweep.id, 0).checkpoint is None


def test_sweeps_of_another_service_stay_and_are_told(home: Home, store: Store, bucket: StoredFolder) -> None:
    put(bucket / new_sweep_id(None), "tuner.pkl", b"x")
    put(bucket / "notes", "a.txt", b"x")

    done = clean_up(store, home, dry_run=False, now=2e9)

    assert len(bucket.names()) == 2
    assert done.items == []
    assert done.problems == [
        f"{bucket}: 1 of its folders are of no sweep that the store knows. They stay: another service may need them."
    ]


def test_a_deleted_sweep_leaves_nothing(home: Home, store: Store, bucket: StoredFolder, sweep: Sweep) -> None:
    store.delete_sweep(sweep.id)

    Remover(store, home).step()

    assert bucket.names() == []
    assert store.retention.deleted_sweeps() == []


def test_a_store_that_does_not_answer_is_asked_again(
    home: Home, store: Store, bucket: StoredFolder, sweep: Sweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(self: StoredFolder) -> None:
        raise OSError("AWS Error NETWORK_CONNECTION")  # a store that is away for a moment, in the middle of a test

    with monkeypatch.context() as patched:
        patched.setattr(StoredFolder, "remove", away)
        patched.setattr(StoredFolder, "names", away)
        done = clean_up(store, home, dry_run=False)
        store.delete_sweep(sweep.id)
        Remover(store, home).step()
    assert done.problems == [f"{bucket} can't be looked at: AWS Error NETWORK_CONNECTION"]
    assert [each.id for each in store.retention.deleted_sweeps()] == [sweep.id]

    Remover(store, home).step()

    assert (bucket.names(), store.retention.deleted_sweeps()) == ([], [])


async def test_a_download_is_the_checkpoint_as_it_was_written(
    home: Home, store: Store, bucket: StoredFolder, sweep: Sweep
) -> None:
    app = create_app(store, home.path)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    url = f"/v1/sweeps/{sweep.id}/trials/0/checkpoint"
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
        whole = await http.get(url)
        put(bucket / sweep.id / "000000" / "checkpoint_000001-ab", "model.pt", b"wei")
        half = await http.get(url)

    assert whole.status_code == 200
    assert len(whole.content) == int(whole.headers["Content-Length"])
    with tarfile.open(fileobj=io.BytesIO(whole.content)) as tar:
        said = {member.name: tar.extractfile(member) for member in tar}
        assert {name: file and file.read() for name, file in said.items()} == {
            "model.pt": b"weights",
            "state.json": b"{}",
        }
    assert (half.status_code, half.json()["detail"]) == (404, "The checkpoint is no longer kept.")
