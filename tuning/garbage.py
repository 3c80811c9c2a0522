"""Records about the files of sweeps: what a sweep has on disk, and what a clean-up removes."""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from toprung.tuning.records import Record


class FileKind(StrEnum):
    """Files of a sweep by what they hold, files to be removed by why they may go."""

    CHECKPOINTS = "checkpoints"
    LOGS = "logs"
    TENSORBOARD = "tensorboard"
    WANDB = "wandb"
    CODE = "code"
    """The package of its code, which other sweeps may use too."""

    UNUSED_PACKAGES = "unused_packages"
    """Code of no sweep."""
    UNKNOWN_SWEEPS = "unknown_sweeps"
    """Of sweeps that the store does not know."""
    LOST_CHECKPOINTS = "lost_checkpoints"
    """Of finished sweeps; no trial names them."""
    OLD_CHECKPOINTS = "old_checkpoints"
    """Of sweeps that ended long ago."""
    OLD_LOGS = "old_logs"


class Files(Record):
    """Files and folders of one kind."""

    kind: FileKind
    count: int
    """Files and folders; what is inside of a folder is not counted."""
    size_bytes: int
    """With all that is inside."""
    paths: list[str] = Field(default_factory=list)
    """Under the service's home; the first hundred."""


class CleanUp(Record):
    """What a clean-up has removed, or would remove."""

    dry_run: bool
    """Nothing was removed."""
    items: list[Files]
    """By kind; kinds without any are left out."""
    problems: list[str] = Field(default_factory=list)
    """What stays against the policy, and why."""
