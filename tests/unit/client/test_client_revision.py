"""Where a code folder stands in Git, by repositories of the real `git`."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from toprung.client.packing import code_files
from toprung.client.revision import git_of
from toprung.tuning.spec import Git

WHO = {
    name: "nobody@example.org" if "EMAIL" in name else "nobody"
    for name in ("GIT_AUTHOR_NAME", "GIT_AUTHOR_EMAIL", "GIT_COMMITTER_NAME", "GIT_COMMITTER_EMAIL")
}


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **WHO})
    return done.stdout.strip()


def revision(folder: Path) -> Git | None:
    return git_of(folder, code_files(folder))


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """A code folder in a repository that has other things, too."""
    folder = tmp_path / "repository" / "code"
    (folder / "parts").mkdir(parents=True)
    for name in ("code/train.py", "code/parts/model.py", "code/old.py", "secret.txt"):
        (tmp_path / "repository" / name).write_text("1")
    git(folder.parent, "init", "--quiet")
    git(folder.parent, "add", ".")
    git(folder.parent, "commit", "--quiet", "-m", "first")
    return folder


def test_a_clean_folder(code: Path) -> None:
    (code.parent / "secret.txt").write_text("not of the folder")
    assert revision(code) == Git(commit=git(code, "rev-parse", "HEAD"))


def test_what_differs_is_named(code: Path) -> None:
    (code / "parts" / "model.py").write_text("2")  # changed
    (code / "train.py").write_text("2")
    git(code, "add", "train.py")  # changed and staged
    (code / "old.py").unlink()  # deleted
    (code / "new ä.py").write_text("1")  # not known to Git
    (code / ".gitignore").write_text("*.log\n")
    (code / "run.log").write_text("not packed")
    (code.parent / "other.txt").write_text("not of the folder")
    found = revision(code)
    assert found is not None
    assert (found.dirty, found.changed) == (True, (".gitignore", "new ä.py", "old.py", "parts/model.py", "train.py"))


def test_what_is_packed_though_git_ignores_it_differs(code: Path) -> None:
    (code / ".gitignore").write_text("local.py\n")
    (code / ".toprungignore").write_text("nothing\n")
    git(code, "add", ".")
    git(code, "commit", "--quiet", "-m", "second")
    assert revision(code) == Git(commit=git(code, "rev-parse", "HEAD"))
    (code / "local.py").write_text("1")
    found = revision(code)
    assert found is not None
    assert found.changed == ("local.py",)


def test_at_most_a_hundred_names(code: Path) -> None:
    for number in range(150):
        (code / f"file{number:03}.py").write_text("1")
    found = revision(code)
    assert found is not None
    assert (found.dirty, len(found.changed)) == (True, 100)


def test_no_note_without_a_commit_that_has_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "train.py").write_text("1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert revision(tmp_path) is None  # no repository
    git(tmp_path, "init", "--quiet")
    assert revision(tmp_path) is None  # no commit
    git(tmp_path, "commit", "--quiet", "--allow-empty", "-m", "first")
    assert revision(tmp_path) is None  # it has none of the files
    monkeypatch.setenv("PATH", str(tmp_path))
    assert revision(tmp_path) is None  # no git
