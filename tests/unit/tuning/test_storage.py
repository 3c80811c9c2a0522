"""Where checkpoints may go, and folders there."""

from __future__ import annotations

from pathlib import Path

import pytest

from toprung.errors import InvalidInput
from toprung.serve.settings import Settings
from toprung.tuning.storage import StoredFolder, checked, probe


@pytest.mark.parametrize(
    ("setting", "means"),
    [
        ("s3://bucket/team/runs/", "s3://bucket/team/runs"),
        ("s3://bucket", "s3://bucket"),
        ("gs://bucket/runs", "gs://bucket/runs"),
        ("s3://bucket/runs?region=eu-central-1", "s3://bucket/runs?region=eu-central-1"),
        ("/mnt/shared/runs/", "/mnt/shared/runs"),
    ],
)
def test_places_for_checkpoints(setting: str, means: str) -> None:
    assert checked(setting) == means


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("shared/runs", "shared/runs is no absolute path. Write s3://bucket/folder, gs://bucket/folder, or"),
        ("hdfs://host/runs", "hdfs:// is not known. Write s3://bucket/folder"),
        ("s3://", "must name a bucket"),
        ("s3://bucket//runs", "must name a bucket"),
        ("s3://bucket/my runs", "must name a bucket"),
        ("s3://AKIA:secret@bucket/runs", "a key has no place here. Put it into the environment"),
    ],
)
def test_other_places_are_refused_by_the_settings(tmp_path: Path, setting: str, why: str) -> None:
    (tmp_path / "config.yaml").write_text(f"storage: '{setting}'\n")

    with pytest.raises(InvalidInput, match=r"config\.yaml is wrong: /storage: ") as refused:
        Settings.read(tmp_path / "config.yaml")

    assert why in refused.value.detail
    assert "secret" not in refused.value.detail


def test_a_probe_leaves_nothing(tmp_path: Path) -> None:
    probe(str(tmp_path))

    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """It is where a file system was to be mounted."""
    with pytest.raises(InvalidInput, match=r"is no folder\. Make it, or mount what all machines share there\."):
        probe(str(tmp_path / "shared"))

    assert not (tmp_path / "shared").exists()


def test_an_option_of_the_store_that_is_not_known_is_told() -> None:
    with pytest.raises(InvalidInput, match="Unexpected query parameter in S3 URI: 'regoin'"):
        probe("s3://bucket/runs?regoin=eu-central-1")


def test_folders_in_a_bucket_keep_the_options_of_their_store() -> None:
    folder = StoredFolder("s3://bucket/runs?region=eu-central-1") / "swp_1" / "000000"

    assert (str(folder), folder.path) == (
        "s3://bucket/runs/swp_1/000000?region=eu-central-1",
        "bucket/runs/swp_1/000000",
    )
    assert folder.name == "000000"
    assert folder.filesystem.type_name == "s3"


def test_checkpoints_of_a_sweep_by_trial_and_name(tmp_path: Path) -> None:
    sweep = StoredFolder(str(tmp_path)) / "swp_1"
    assert sweep.checkpoints() == {}
    for name, size in (("a.pt", 3), ("shards/0.pt", 4)):
        file = tmp_path / "swp_1" / "000007-2" / "checkpoint_000001-ab" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(bytes(size))
    for other in ("000007-2/notes", "000007-2/workers/checkpoint_1", "driver/checkpoint_1"):
        (tmp_path / "swp_1" / other).mkdir(parents=True)
    (tmp_path / "swp_1" / "tuner.pkl").write_bytes(b"x")

    assert sweep.checkpoints() == {("000007-2", "checkpoint_000001-ab"): 7}
    assert (sweep / "000007-2").size_bytes() == 7


def test_what_is_removed_is_gone_and_may_be_gone(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    folder = StoredFolder(str(tmp_path)) / "a"

    folder.remove()
    folder.remove()

    assert not folder.exists()
    assert folder.below() == []
    assert StoredFolder(str(tmp_path)).names() == []
