"""What of a code folder is packed, and how."""

from __future__ import annotations

import os
import re
import shutil
import stat
import subprocess
import zipfile
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from toprung.client.ignore import IgnoreRules
from toprung.client.packing import code_files, pack
from toprung.errors import InvalidInput, TooLarge


def make(folder: Path, *names: str, content: str = "x") -> Path:
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    return folder


def names(folder: Path) -> list[str]:
    return [file.name for file in code_files(folder)]


def test_what_is_never_code_is_left_out(tmp_path: Path) -> None:
    junk = [
        ".git/HEAD",
        "a/__pycache__/m.pyc",
        ".venv/x",
        "node_modules/x",
        "m.pyc",
        ".toprung/x",
        ".mypy_cache/x",
        ".env",
    ]
    make(tmp_path, "train.py", "pkg/a.py", "data.json", ".hidden", "venv311/pyvenv.cfg", "venv311/lib/x.py", *junk)

    assert names(tmp_path) == [".hidden", "data.json", "pkg/a.py", "train.py"]


def test_gitignore_counts_unless_there_is_a_toprungignore(tmp_path: Path) -> None:
    make(tmp_path, "train.py", "data/x.bin", "runs/x")
    (tmp_path / ".gitignore").write_text("data/\n")
    assert names(tmp_path) == [".gitignore", "runs/x", "train.py"]

    (tmp_path / ".toprungignore").write_text("runs\n.*ignore\n")
    assert names(tmp_path) == ["data/x.bin", "train.py"]


@pytest.mark.parametrize(
    ("rules", "path", "ignored"),
    [
        ("*.log", "a/b.log", True),
        ("*.log", "a/b.logs", False),
        ("/a.log", "a.log", True),
        ("/a.log", "b/a.log", False),
        ("b/a.log", "c/b/a.log", False),
        ("**/b/a.log", "c/b/a.log", True),
        ("**/b/a.log", "b/a.log", True),
        ("a/**", "a/b/c", True),
        ("a/**", "a", False),
        ("a/**/c", "a/c", True),
        ("a/**/c", "a/x/y/c", True),
        ("a/*/c", "a/x/y/c", False),
        ("a?c", "a/c", False),
        ("a[/]c", "a/c", False),
        ("[!a]x", "bx", True),
        ("[!a]x", "ax", False),
        ("[a-c]x", "bx", True),
        ("[]]x", "]x", True),
        ("*.log\n!keep.log", "keep.log", False),
        ("!keep.log\n*.log", "keep.log", True),
        ("# comment\n\n", "# comment", False),
        ("\\#x", "#x", True),
        ("\\!x", "!x", True),
        ("x  ", "x", True),
        ("x\\ ", "x ", True),
        ("data/", "data", False),
        ("!.env", ".env", True),
        ("[z-a]", "z", False),
        ("/", "a", False),
        ("a.c", "abc", False),
    ],
)
def test_ignore_syntax(rules: str, path: str, ignored: bool) -> None:
    assert IgnoreRules(rules.splitlines()).ignores(path, is_folder=False) is ignored


def test_a_rule_for_folders_ignores_folders() -> None:
    assert IgnoreRules(["data/"]).ignores("a/data", is_folder=True)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("git") is None:
        pytest.skip("git is the reference")
    folder = make(tmp_path_factory.mktemp("code"), "a", "b/a", "b/b/a", "ab/ba", "bb", "b/aab", "aa/a/b")
    subprocess.run(["git", "-C", folder, "init", "-q"], check=True)
    return folder


# Git cuts a pattern's literal beginning off before it looks for `**/`, which so means something in `a**/`
RULE = st.text("ab*?/!", min_size=1, max_size=6).filter(lambda rule: not re.search(r"[ab]\*\*+/", rule))


@given(rules=st.lists(RULE, max_size=4))
@example(rules=["***/?"])
@example(rules=["a/***"])
@settings(max_examples=30, deadline=None)
def test_ignore_syntax_is_that_of_git(repository: Path, rules: list[str]) -> None:
    (repository / ".gitignore").write_text("\n".join(rules))
    ask = ["git", "-c", "core.excludesFile=", "-C", str(repository), "ls-files", "-co", "--exclude-standard"]

    kept = subprocess.run(ask, check=True, capture_output=True, text=True)

    assert names(repository) == sorted(kept.stdout.split())


def test_the_zip_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one", "b.py", "a.py", "c/d.py"), make(tmp_path / "two", "c/d.py", "a.py", "b.py")
    os.utime(two / "a.py", (1, 1))
    (two / "b.py").chmod(0o600)

    first, second = (pack(code_files(folder), folder.with_suffix(".zip")) for folder in (one, two))

    assert first.sha256 == second.sha256
    assert first.size_bytes == first.path.stat().st_size
    with zipfile.ZipFile(first.path) as archive:
        assert archive.namelist() == ["a.py", "b.py", "c/d.py"]
        assert archive.read("c/d.py") == b"x"


def test_the_zip_keeps_what_can_be_executed(tmp_path: Path) -> None:
    folder = make(tmp_path / "code", "run.sh", "a.py")
    (folder / "run.sh").chmod(0o744)

    with zipfile.ZipFile(pack(code_files(folder), tmp_path / "x.zip").path) as archive:
        modes = {info.filename: stat.S_IMODE(info.external_attr >> 16) for info in archive.infolist()}

    assert modes == {"a.py": 0o644, "run.sh": 0o755}


def test_another_content_is_another_package(tmp_path: Path) -> None:
    folder = make(tmp_path / "code", "a.py")
    before = pack(code_files(folder), tmp_path / "x.zip")
    make(folder, "a.py", content="y")

    assert pack(code_files(folder), tmp_path / "x.zip").sha256 != before.sha256


def test_links_inside_are_followed(tmp_path: Path) -> None:
    make(tmp_path, "a.py", "pkg/b.py")
    (tmp_path / "c.py").symlink_to("a.py")
    (tmp_path / "alias").symlink_to("pkg")

    assert names(tmp_path) == ["a.py", "alias/b.py", "c.py", "pkg/b.py"]


@pytest.mark.parametrize(
    ("target", "said"), [("..", "outside"), ("nowhere", "broken"), (".", "that it is in"), ("link", "link")]
)
def test_links_that_lead_astray_are_refused_by_name(tmp_path: Path, target: str, said: str) -> None:
    folder = make(tmp_path / "code", "a.py")
    (folder / "link").symlink_to(target)

    with pytest.raises(InvalidInput, match=f"link.*{said}"):
        code_files(folder)

    (folder / ".toprungignore").write_text("link\n.*\n")
    assert names(folder) == ["a.py"]


def test_a_folder_too_large_names_the_largest_files(tmp_path: Path) -> None:
    folder = tmp_path / "code"
    make(folder, "a.py")
    for name, size in [("big.bin", 90_000), ("bigger.bin", 100_000), ("biggest.bin", 110_000), ("small.bin", 9_000)]:
        (folder / name).write_bytes(os.urandom(size))

    with pytest.raises(TooLarge) as caught:
        pack(code_files(folder), tmp_path / "x.zip", max_bytes=50_000)

    detail = caught.value.detail
    assert detail.index("biggest.bin") < detail.index("bigger.bin") < detail.index("big.bin")
    assert "small.bin" not in detail
    assert ".toprungignore" in detail


@pytest.mark.parametrize(("name", "said"), [("file", "is not a folder"), ("nowhere", "does not exist")])
def test_what_is_no_folder_is_refused(tmp_path: Path, name: str, said: str) -> None:
    make(tmp_path, "file")

    with pytest.raises(InvalidInput, match=said):
        code_files(tmp_path / name)
