"""A real sweep, deleted with everything that it left on the disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.integration.conftest import Service, Submit, until
from toprung import Client
from toprung.errors import NotFound
from toprung.tuning.garbage import FileKind
from toprung.tuning.records import SweepState


def mentions(home: Path, sweep_id: str) -> list[str]:
    """What in the home has a name with the sweep's id, or with the end of it."""
    rooms = ("runs", "logs", "tensorboard", "wandb")
    # os.walk: it doesn't mind that folders go meanwhile
    found = (name for room in rooms for _, folders, files in os.walk(home / room) for name in (*folders, *files))
    return sorted(name for name in found if sweep_id[-6:] in name)


def garbage(client: Client, sweep_id: str) -> list[str]:
    """What a clean-up would take of the sweep; others of the session may have left something too."""
    return [path for files in client.gc(dry_run=True).items for path in files.paths if sweep_id[-6:] in path]


def test_a_deleted_sweep_leaves_nothing(service: Service, client: Client, submit: Submit) -> None:
    sweep = submit(
        "learns_slowly",
        name="to-be-deleted",
        tracking={"tensorboard": True, "wandb": {"project": "x"}},
        budget={"trials": 6},
    )
    assert sweep.state is SweepState.SUCCEEDED, sweep.record.reason
    kinds = {FileKind.CHECKPOINTS, FileKind.LOGS, FileKind.TENSORBOARD, FileKind.WANDB, FileKind.CODE}
    until(lambda: {files.kind for files in sweep.files()} == kinds, what="all files")
    until(lambda: garbage(client, sweep.id) == [], what="the end of what its runner removes")
    assert sweep.best().record.checkpoint is not None

    sweep.delete()

    until(lambda: mentions(service.home, sweep.id) == [], what="the removal of its files")
    with pytest.raises(NotFound):
        client.sweep(sweep.id)
    assert garbage(client, sweep.id) == []
    after = submit("good", name="after-a-deletion", budget={"trials": 1})
    assert after.state is SweepState.SUCCEEDED, after.record.reason
