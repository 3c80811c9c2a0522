"""Checkpoints as a trial's worker writes them, and what the runner takes for whole; on Ray Tune's own storage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ray import tune
from ray.train._internal.session import _TrainingResult
from ray.train._internal.storage import StorageContext

from toprung.tuning.records import CheckpointRef
from toprung.tuning.run import uploads
from toprung.tuning.run.checkpoints import Checkpoints


@pytest.fixture
def storage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StorageContext:
    """Of trial 0 of sweep `s`, which saves its third checkpoint next."""
    monkeypatch.setattr(StorageContext, "persist_current_checkpoint", StorageContext.persist_current_checkpoint)
    uploads.let_uploads_be_whole()
    return StorageContext(str(tmp_path / "runs"), "s", trial_dir_name="000000", current_checkpoint_index=2)


@pytest.fixture
def local(tmp_path: Path) -> Path:
    folder = tmp_path / "local"
    (folder / "shards").mkdir(parents=True)
    (folder / "model.pt").write_bytes(b"12345")
    (folder / "shards" / "0.pt").write_bytes(b"678")
    return folder


def save(storage: StorageContext, local: Path) -> _TrainingResult:
    checkpoint = storage.persist_current_checkpoint(tune.Checkpoint.from_directory(str(local)))
    return _TrainingResult(checkpoint, {"training_iteration": 3})


def test_each_upload_has_a_folder_of_its_own(storage: StorageContext, local: Path) -> None:
    torn = Path(storage.checkpoint_fs_path)  # what Ray Tune would write to again
    torn.mkdir(parents=True)
    (torn / "of-an-upload-that-was-killed.pt").write_bytes(b"?")

    saved = [Path(save(storage, local).checkpoint.path) for _ in range(2)]

    assert len({torn, *saved}) == 3
    for folder in saved:
        assert folder.name.startswith("checkpoint_000002-")
        assert sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()) == [
            "model.pt",
            "shards/0.pt",
        ]


def test_an_upload_that_fails_leaves_nothing(
    storage: StorageContext, local: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(source: str, target: str, *filesystems: Any) -> None:
        (Path(target) / "model.pt").write_bytes(b"12")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(uploads, "_pyarrow_fs_copy_files", half)  # a full disk can't be had in a unit test

    with pytest.raises(OSError, match="No space left"):
        save(storage, local)

    assert list(Path(storage.trial_fs_path).iterdir()) == []


def test_the_runner_names_a_checkpoint_with_its_size(storage: StorageContext, local: Path, tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path / "runs"))

    reference = checkpoints.reference(save(storage, local))

    assert (reference.step, reference.size_bytes) == (3, 8)
    assert Path(reference.path).parent == tmp_path / "runs" / "s" / "000000"
    assert reference in checkpoints


def test_a_checkpoint_of_which_a_part_is_missing_does_not_count(
    storage: StorageContext, local: Path, tmp_path: Path
) -> None:
    """As after a loss of power: the store kept its row, the file system not all of the files."""
    checkpoints = Checkpoints(str(tmp_path / "runs"))
    reference = checkpoints.reference(save(storage, local))

    (Path(reference.path) / "model.pt").write_bytes(b"123")

    assert reference not in checkpoints
    assert reference.model_copy(update={"size_bytes": None}) in checkpoints, "of an earlier version, without a size"
    assert CheckpointRef(step=3, path=f"{reference.path}x", size_bytes=8) not in checkpoints


def test_tidying_leaves_what_the_store_names(storage: StorageContext, local: Path, tmp_path: Path) -> None:
    checkpoints = Checkpoints(str(tmp_path / "runs"))
    kept, torn = (checkpoints.reference(save(storage, local)) for _ in range(2))
    other = Path(storage.trial_fs_path).parent / "000001" / "checkpoint_000000-ab"
    other.mkdir(parents=True)

    checkpoints.tidy("s", {0: [kept]})

    assert kept in checkpoints
    assert not Path(torn.path).exists()
    assert other.exists(), "of a trial that was not asked about"
