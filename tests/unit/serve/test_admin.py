"""The admin's first token, in the service's home."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from toprung.access import Scope
from toprung.serve.admin import keep_admin_token
from toprung.serve.home import Home
from toprung.serve.store import Store


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    monkeypatch.delenv("TOPRUNG_STORE", raising=False)
    return Home.at(tmp_path)


@pytest.fixture
def store(home: Home) -> Iterator[Store]:
    opened = Store(home.store_url)
    yield opened
    opened.close()


def written(home: Home) -> str:
    keep_admin_token(home)
    assert home.token_file.stat().st_mode & 0o777 == 0o600
    return home.token_file.read_text().strip()


def test_it_is_made_once(home: Home, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "carol")
    token = written(home)

    found = store.find_token(token)
    assert found is not None
    assert (found.owner, found.scope) == ("carol", Scope.ADMIN)
    assert written(home) == token
    assert len(store.list_tokens()) == 1


def test_one_that_does_not_count_is_replaced(home: Home, store: Store) -> None:
    token = written(home)
    store.revoke_token(token[:16])
    second = written(home)
    home.token_file.chmod(0o644)
    home.token_file.write_bytes(b"\xff")
    third = written(home)
    home.keep_token(store.create_token("alice", Scope.WRITE).token)
    fourth = written(home)

    assert len({token, second, third, fourth}) == 4
    assert all((found := store.find_token(made)) and found.scope is Scope.ADMIN for made in (second, third, fourth))


@pytest.mark.parametrize("error", [KeyError("uid not found"), OSError("No username set"), None])
def test_a_container_without_users_has_an_admin(
    home: Home, store: Store, monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    def getuser() -> str:
        if error is not None:
            raise error
        return "Jane Doe"  # no owner may have a space

    monkeypatch.setattr("getpass.getuser", getuser)

    found = store.find_token(written(home))
    assert found is not None
    assert found.owner == "admin"
