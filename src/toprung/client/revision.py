"""Where a code folder stands in Git: the commit, and which of the packed files differ from it. Names, no contents."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from toprung.client.ignore import IgnoreRules
from toprung.client.packing import CodeFile
from toprung.tuning.spec import Git

_PATIENCE_S = 5.0
"""For each call of git: a submission doesn't wait for a note about it."""
_MOST_NAMES, _LONGEST_NAME = 100, 500


def git_of(folder: Path, files: Sequence[CodeFile]) -> Git | None:
    """The commit of `folder`, and the files of its package that are not as they are there.

    None where there is no git, no repository or no commit, where git takes too long, or knows none of the files.

    Args:
        folder: the code folder.
        files: what goes into the package.
    """
    commit = _git(folder, "rev-parse", "--verify", "--quiet", "HEAD")
    tracked = _names(_git(folder, "ls-files", "-z", "--recurse-submodules"))
    differing = _names(_git(folder, "diff", "--name-only", "--no-ext-diff", "--relative", "-z", "HEAD", "--", "."))
    packed = {file.name for file in files}
    if commit is None or tracked is None or differing is None or not packed & tracked:
        return None
    rules = IgnoreRules.of(folder)
    deleted = {name for name in differing - packed if not (folder / name).exists() and not _ignored(rules, name)}
    changed = sorted((differing & packed) | deleted | (packed - tracked))
    return Git(
        commit=commit.decode().strip(),
        dirty=bool(changed),
        changed=tuple(_printable(name)[:_LONGEST_NAME] for name in changed[:_MOST_NAMES]),
    )


def _git(folder: Path, *arguments: str) -> bytes | None:
    """What git prints; None where it can't."""
    command = ["git", "-c", "core.fsmonitor=false", "-C", str(folder), *arguments]
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=_PATIENCE_S, env=environment, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


def _names(listing: bytes | None) -> set[str] | None:
    return None if listing is None else {os.fsdecode(name) for name in listing.split(b"\0") if name}


def _ignored(rules: IgnoreRules, name: str) -> bool:
    parts = name.split("/")
    folders = ("/".join(parts[:count]) for count in range(1, len(parts)))
    return rules.ignores(name, is_folder=False) or any(rules.ignores(path, is_folder=True) for path in folders)


def _printable(name: str) -> str:
    """A name with bytes that are no UTF-8 can't be sent as JSON."""
    return name.encode("utf-8", "replace").decode()
