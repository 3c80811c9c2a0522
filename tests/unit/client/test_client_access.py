"""The token that a client sends, to whom, and what it says when it is not enough."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.client.client_help import Connect, answer, problem

from toprung.client import Client
from toprung.errors import Forbidden, InvalidInput, Unauthorized

HERE = "http://127.0.0.1:9001"
TOKEN = {"id": "tpr_000000000000", "owner": "alice", "scope": "write", "created_at": "2026-01-02T03:04:05Z"}


class Heard:
    """A service that notes what it is sent."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = list(answers)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        return self._answers.pop(0) if self._answers else answer({"version": "1", "ray": "2"})


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A service of this user is up, as far as its home tells: this process stands in for it."""
    for name in ("TOPRUNG_URL", "TOPRUNG_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TOPRUNG_HOME", str(tmp_path))
    announce(tmp_path, os.getpid())
    (tmp_path / "token").write_text("tpr_admins\n")
    return tmp_path


def announce(home: Path, pid: int) -> None:
    (home / "service.json").write_text(json.dumps({"url": HERE, "pid": pid}))


def sent(connect: Connect, **options: Any) -> str | None:
    heard = Heard()
    connect(heard, **options).version()
    found: str | None = heard.requests[0].headers.get("authorization")
    return found


def test_a_token_is_given_or_in_the_environment_or_the_services_own(
    connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sent(connect, url=HERE) == "Bearer tpr_admins"
    monkeypatch.setenv("TOPRUNG_TOKEN", " tpr_env ")
    assert sent(connect, url=HERE) == "Bearer tpr_env"
    assert sent(connect, url="http://other:1") == "Bearer tpr_env"
    assert sent(connect, url=HERE, token="tpr_given") == "Bearer tpr_given"
    assert sent(connect, url=HERE, token="") is None


def test_the_services_own_goes_to_no_other(connect: Connect) -> None:
    for url in ("http://127.0.0.1:9002", "http://other:9001", "https://127.0.0.1:9001"):
        assert sent(connect, url=url) is None, url


def test_the_services_own_goes_to_nobody_once_it_is_dead(connect: Connect, home: Path) -> None:
    """Whoever takes its port then would be an admin."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    for pid in (ended.pid, 0, -1):
        announce(home, pid)
        assert sent(connect, url=HERE) is None


@pytest.mark.parametrize("content", ["{", "[]", '{"url": 3}', '{"url": "http://127.0.0.1:9001", "pid": "x"}', "{}"])
def test_a_broken_service_file_gives_none(connect: Connect, home: Path, content: str) -> None:
    (home / "service.json").write_text(content)
    assert sent(connect, url=HERE) is None


@pytest.mark.parametrize("token", ["tpr_canary x", "tpr_canary\nX-Evil: 1", "tpr_canaré"])
def test_what_cannot_be_a_token_is_refused_unrepeated(token: str) -> None:
    with pytest.raises(InvalidInput, match="TOPRUNG_TOKEN") as caught:
        Client(HERE, token=token)
    assert "canar" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [(401, "unauthorized", Unauthorized), (403, "forbidden", Forbidden), (401, "expired_token", Unauthorized)],
)
def test_a_refusal_is_told_at_once(
    connect: Connect, naps: list[float], status: int, code: str, kind: type[Exception]
) -> None:
    heard = Heard(problem(status, code, "Set TOPRUNG_TOKEN."))

    with pytest.raises(kind, match="Set TOPRUNG_TOKEN") as caught:
        connect(heard, url=HERE).version()
    assert caught.value.exit_code == 7  # type: ignore[attr-defined]
    assert (len(heard.requests), naps) == (1, [])


def test_tokens(connect: Connect) -> None:
    heard = Heard(answer({**TOKEN, "token": "tpr_000000000000_5ec"}, 201), answer({"items": [TOKEN]}), answer(TOKEN))
    client = connect(heard, url=HERE)

    made = client.create_token(owner="alice", scope="write")
    (listed,) = client.tokens()
    client.revoke_token(made.token)

    assert (made.owner, made.token, listed.scope) == ("alice", "tpr_000000000000_5ec", "write")
    assert "5ec" not in repr(made)
    assert json.loads(heard.requests[0].content) == {"owner": "alice", "scope": "write"}
    assert [(request.method, request.url.path) for request in heard.requests] == [
        ("POST", "/v1/tokens"),
        ("GET", "/v1/tokens"),
        ("DELETE", "/v1/tokens/tpr_000000000000"),  # the id alone: paths are logged
    ]


def test_sweeps_of_one_owner(connect: Connect) -> None:
    heard = Heard(answer({"items": []}))

    assert list(connect(heard, url=HERE).sweeps(owner="alice")) == []
    assert dict(heard.requests[0].url.params) == {"owner": "alice"}
