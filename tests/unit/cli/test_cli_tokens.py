"""The commands against a service with access control."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from tests.unit.cli.cli_help import make_spec, run
from tests.unit.cli.cli_served import Served

from toprung.access import Scope


@pytest.fixture
def admin(guarded: Served) -> dict[str, str]:
    return {"TOPRUNG_TOKEN": guarded.store.create_token("root", Scope.ADMIN).token}


def test_without_a_token_it_says_what_to_do(guarded: Served) -> None:
    for args in (["list"], ["status"], ["show", "waiting"], ["cancel", "waiting"], ["token", "list"]):
        done = run(*args)
        assert (done.code, done.out) == (7, "")
        assert "asks for a token" in done.err
        assert "Set TOPRUNG_TOKEN" in done.err
        assert run(*args, "--json").json["code"] == "unauthorized"


def test_a_token_that_is_none_is_not_repeated(guarded: Served) -> None:
    done = run("list", env={"TOPRUNG_TOKEN": "tpr_canary x"})
    assert (done.code, "canary" in done.err) == (2, False)
    done = run("list", env={"TOPRUNG_TOKEN": "tpr_canary"})
    assert (done.code, "canary" in done.err) == (7, False)


def test_a_token_is_made_shown_once_used_and_revoked(guarded: Served, admin: dict[str, str]) -> None:
    made = run("token", "create", "--owner", "alice", "--scope", "write", env=admin)
    assert made.code == 0, made.err
    token = made.out.strip()  # stdout has it alone: TOPRUNG_TOKEN=$(toprung token create …)
    assert "shown this once" in made.err
    alice = {"TOPRUNG_TOKEN": token}

    assert run("list", env=alice).code == 0
    listed = run("token", "list", env=admin)
    assert listed.code == 0
    assert "alice" in listed.out
    assert token not in listed.out
    refused = run("token", "list", env=alice)
    assert (refused.code, "scope admin" in refused.err) == (7, True)

    revoked = run("token", "revoke", token[:16], env=admin)
    assert revoked.out == f"{token[:16]} of alice is revoked.\n"
    assert run("list", env=alice).code == 7
    items = run("token", "list", "--json", env=admin).json["items"]
    assert [item["revoked_at"] is not None for item in items] == [False, True]


def test_token_as_json(guarded: Served, admin: dict[str, str]) -> None:
    made = run("token", "create", "--owner", "alice", "--scope", "read", "--json", env=admin).json
    assert made["token"].startswith(f"{made['id']}_")
    assert run("token", "revoke", made["id"], "--json", env=admin).json["owner"] == "alice"


def test_a_token_that_is_not_there(guarded: Served, admin: dict[str, str]) -> None:
    done = run("token", "revoke", "tpr_nothing", env=admin)
    assert (done.code, "toprung token list" in done.err) == (4, True)


def test_a_wrong_owner(guarded: Served, admin: dict[str, str]) -> None:
    done = run("token", "create", "--owner", "a b", "--scope", "read", env=admin)
    assert done.code == 2
    assert "without spaces" in done.err
    assert "/owner" in done.err


def test_the_service_of_a_home_has_its_token_there(guarded: Served, admin: dict[str, str]) -> None:
    guarded.home.keep_token(admin["TOPRUNG_TOKEN"])
    assert guarded.home.token_file.stat().st_mode & 0o777 == 0o600
    guarded.home.announce(url=guarded.url, pid=os.getpid(), auth=True)
    home = ["--home", str(guarded.home.path)]
    env = {"TOPRUNG_URL": None}

    assert run("list", *home, env=env).code == 0
    assert run("token", "list", *home, env=env).code == 0
    assert run("list", env=env | {"TOPRUNG_HOME": str(guarded.home.path)}).code == 0
    guarded.home.announce(url="http://127.0.0.1:1", pid=os.getpid(), auth=True)
    assert run("list", *home, "--url", guarded.url, env=env).code == 7, "it is another service's token"


def test_somebody_elses_sweep(guarded: Served, admin: dict[str, str]) -> None:
    guarded.store.create_sweep(make_spec(name="hers"), name="hers", num_trials=3, owner="alice")
    bob = {"TOPRUNG_TOKEN": guarded.store.create_token("bob", Scope.WRITE).token}

    done = run("cancel", "hers", env=bob)

    assert done.code == 7
    assert "belongs to alice" in done.err
    assert run("cancel", "hers", env=admin).code == 0


def test_owners_are_shown_where_there_are_any(guarded: Served, admin: dict[str, str]) -> None:
    assert "owner" not in run("list", env=admin).out
    assert "owner" not in run("show", "waiting", env=admin).out
    guarded.store.create_sweep(make_spec(name="hers"), name="hers", num_trials=3, owner="alice")

    listed = run("list", env=admin).out.splitlines()
    assert listed[0].split()[:3] == ["name", "owner", "state"]
    assert listed[1].split()[:2] == ["hers", "alice"]
    assert listed[2].split()[:2] == ["waiting", "–"]
    shown = run("show", "hers", env=admin).out
    assert any(line.split() == ["owner", "alice"] for line in shown.splitlines())
    only = run("list", "--owner", "alice", "--json", env=admin).json["items"]
    assert [sweep["name"] for sweep in only] == ["hers"]
    assert run("list", "--owner", "carol", "--state", "running", env=admin).err == "No running sweeps of carol.\n"


def test_without_access_control_there_are_no_tokens(served: Served) -> None:
    done = run("token", "create", "--owner", "alice", "--scope", "admin")
    assert (done.code, "toprung up --auth" in done.err) == (5, True)


def test_up_names_the_token_but_does_not_show_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text("tpr_canary")
    (tmp_path / "service.json").write_text(json.dumps({"url": "http://127.0.0.1:8000", "pid": 1, "auth": True}))
    monkeypatch.setattr("toprung.cli.service.is_ours", lambda pid: True)

    done = run("up", "--home", str(tmp_path))

    assert str(tmp_path / "token") in done.out
    assert "toprung token create" in done.out
    assert "canary" not in done.out
