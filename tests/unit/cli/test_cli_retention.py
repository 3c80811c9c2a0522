"""`toprung delete` and `toprung gc` against the real app."""

from __future__ import annotations

import os

import pytest
from tests.unit.cli.cli_help import run
from tests.unit.cli.cli_served import Served
from typer.testing import CliRunner

from toprung.cli import app, retention
from toprung.errors import NotFound

SHA = "a" * 64


def is_there(served: Served) -> bool:
    try:
        return served.store.get_sweep(served.done.id) == served.done
    except NotFound:
        return False


@pytest.mark.parametrize("flag", ["--yes", "-y"])
def test_a_finished_sweep_is_deleted(served: Served, flag: str) -> None:
    done = run("delete", "digits-cnn", flag)

    assert (done.code, done.out) == (0, f"digits-cnn ({served.done.id}) is deleted.\n")
    assert not is_there(served)
    assert run("show", "digits-cnn").code == 4


def test_as_json(served: Served) -> None:
    done = run("delete", served.done.id, "--yes", "--json")

    assert done.json["id"] == served.done.id
    assert not is_there(served)


@pytest.mark.parametrize("flags", [[], ["--json"]])
def test_nobody_to_ask(served: Served, flags: list[str]) -> None:
    done = run("delete", "digits-cnn", *flags)

    assert done.code == 2
    assert "--yes" in (done.json["detail"] if flags else done.err)
    assert is_there(served)


@pytest.mark.parametrize(("answer", "stays"), [("y\n", False), ("n\n", True), ("\n", True)])
def test_a_terminal_is_asked(served: Served, monkeypatch: pytest.MonkeyPatch, answer: str, stays: bool) -> None:
    monkeypatch.setattr(retention, "_is_terminal", lambda: True)

    done = CliRunner().invoke(app, ["delete", "digits-cnn"], input=answer)

    lines = done.stdout.splitlines()
    assert done.exit_code == 0
    assert lines[0].startswith(f"digits-cnn ({served.done.id}), succeeded ")
    assert lines[1] == "3 trials with 4 results"
    assert [line.split() for line in lines[2:5]] == [
        ["what", "count", "size"],
        ["checkpoints", "1", "7", "bytes"],
        ["logs", "1", "16", "bytes"],
    ]
    assert ("Nothing was deleted." in done.stdout) is stays
    assert is_there(served) is stays


@pytest.mark.parametrize("name", ["still-going", "waiting"])
def test_an_unfinished_sweep_is_not_deleted(served: Served, name: str) -> None:
    done = run("delete", name)

    assert done.code == 5
    assert f"toprung cancel {name}" in done.err


def test_an_unknown_sweep(served: Served) -> None:
    assert run("delete", "nobody", "--yes").code == 4


def test_cleaning_up(served: Served) -> None:
    package = served.home.package(SHA)
    package.write_bytes(bytes(2_500_000))
    os.utime(package, (0, 0))

    said, there = run("gc", "--dry-run"), package.exists()
    done, again = run("gc"), run("gc")

    table = "what              count    size\ncode of no sweep      1  2.5 MB\n"
    assert said.out == f"{table}2.5 MB would be freed; without --dry-run it is.\n"
    assert done.out == f"{table}2.5 MB freed.\n"
    assert again.out == "Nothing to remove.\n"
    assert (there, package.exists()) == (True, False)


@pytest.mark.parametrize(("age", "goes"), [("0s", True), ("1 h", False), ("30d", False), ("1.5w", False)])
def test_by_age(served: Served, age: str, goes: bool) -> None:
    done = run("gc", "--older-than", age, "--json")

    kinds = [files["kind"] for files in done.json["items"]]
    assert (done.code, kinds) == (0, ["old_checkpoints", "old_logs"] if goes else [])
    assert served.home.log(served.done.id, 0, 1).exists() is not goes
    assert (served.store.get_trial(served.done.id, 0).checkpoint is None) is goes


@pytest.mark.parametrize("age", ["30", "d", "-1d", "1 month", "1e3d", "", "9999999d"])
def test_no_age(served: Served, age: str) -> None:
    done = run("gc", "--older-than", age)

    assert done.code == 2
    assert f"--older-than {age!r} is no age" in done.err
    assert "30d" in done.err
