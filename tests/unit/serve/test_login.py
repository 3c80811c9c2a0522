"""Logging in and out, and what a browser's cookie may do."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from toprung.access import Scope
from toprung.serve.http.app import create_app
from toprung.serve.http.sessions import SESSION_S
from toprung.serve.store import Store

ORIGIN = "http://head.example:8000"
OURS = {"X-Toprung": "page", "Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"}
SPEC = json.dumps(
    {
        "name": "hers",
        "trainable": "toprung.examples.digits.train:train",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
        "budget": {"trials": 1},
    }
)


async def log_in(http: httpx.AsyncClient, token: str) -> httpx.Response:
    return await http.post("/session", json={"token": token}, headers=OURS)


async def test_a_token_opens_a_session(guarded: httpx.AsyncClient, store: Store) -> None:
    token = store.create_token("alice", Scope.WRITE)
    stranger = await guarded.get("/session")
    assert (stranger.status_code, stranger.json()["code"]) == (401, "unauthorized")

    answer = await log_in(guarded, f" {token.token} ")

    assert answer.json() == {"auth": True, "owner": "alice", "scope": "write"}
    assert answer.headers["cache-control"] == "no-store"
    cookie = answer.headers["set-cookie"]
    for part in ("toprung_session_8000=", "HttpOnly", "SameSite=strict", "Path=/", f"Max-Age={SESSION_S}"):
        assert part in cookie
    assert token.token not in answer.text + cookie
    assert token.token[16:] not in cookie
    assert (await guarded.get("/session")).json() == answer.json()
    assert (await guarded.get("/v1/sweeps")).status_code == 200


async def test_the_cookie_keeps_to_tls_where_the_page_came_by_it(guarded: httpx.AsyncClient, store: Store) -> None:
    token = store.create_token("alice", Scope.READ).token
    proxied = {**OURS, "Origin": "https://head.example:8000"}  # a proxy speaks TLS, and HTTP with the service
    assert "Secure" in (await guarded.post("/session", json={"token": token}, headers=proxied)).headers["set-cookie"]
    assert "Secure" not in (await log_in(guarded, token)).headers["set-cookie"]


@pytest.mark.parametrize("given", ["nonsense", "", "tpr_<script>", "é", "x" * 1000])
async def test_a_wrong_token_opens_none(guarded: httpx.AsyncClient, given: str) -> None:
    answer = await log_in(guarded, given)
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    assert "set-cookie" not in answer.headers
    assert "script" not in answer.text


@pytest.mark.parametrize("body", [b"", b"token=x", b'{"token": 1}', b'{"token": "x", "more": 1}', b'"' + b"x" * 2**20])
async def test_what_is_no_login_is_refused(guarded: httpx.AsyncClient, body: bytes) -> None:
    answer = await guarded.post("/session", content=body, headers={**OURS, "Content-Type": "application/json"})
    assert answer.status_code in (400, 413)
    form = await guarded.post("/session", data={"token": "x"}, headers=OURS)
    assert form.status_code == 415


async def test_a_token_in_an_address_is_none(guarded: httpx.AsyncClient, store: Store) -> None:
    token = store.create_token("alice", Scope.READ).token
    assert (await guarded.get("/v1/sweeps", params={"token": token})).status_code == 401
    assert (await guarded.get("/session", params={"token": token})).status_code == 401


async def test_a_revoked_token_ends_its_sessions(guarded: httpx.AsyncClient, store: Store) -> None:
    token = store.create_token("alice", Scope.READ)
    await log_in(guarded, token.token)
    assert (await guarded.get("/session")).status_code == 200
    store.revoke_token(token.id)
    assert (await guarded.get("/session")).status_code == 401
    assert (await guarded.get("/v1/sweeps")).status_code == 401


async def test_who_logs_out_is_a_stranger_again(guarded: httpx.AsyncClient, store: Store) -> None:
    answer = await log_in(guarded, store.create_token("alice", Scope.READ).token)
    kept = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}

    left = await guarded.delete("/session", headers=OURS)

    assert left.status_code == 204
    assert 'toprung_session_8000=""' in left.headers["set-cookie"]
    assert "Max-Age=0" in left.headers["set-cookie"]
    assert (await guarded.get("/session")).status_code == 401
    assert (await guarded.get("/session", headers=kept)).status_code == 401, "a copy of the cookie still works"


async def test_two_services_on_one_machine_keep_their_sessions(
    guarded: httpx.AsyncClient, store: Store, tmp_path: Path
) -> None:
    token = store.create_token("alice", Scope.READ).token
    await log_in(guarded, token)
    origin = "http://head.example:8001"
    transport = httpx.ASGITransport(create_app(store, tmp_path / "other", auth=True), raise_app_exceptions=False)
    # a browser has one jar for all ports of a host
    async with httpx.AsyncClient(transport=transport, base_url=origin, cookies=guarded.cookies) as other:
        assert (await other.get("/session")).status_code == 401
        await other.post("/session", json={"token": token}, headers={**OURS, "Origin": origin})
        assert (await other.get("/session")).status_code == 200
        guarded.cookies = other.cookies
        assert (await guarded.get("/session")).status_code == 200
        assert (await other.delete("/session", headers={**OURS, "Origin": origin})).status_code == 204
        guarded.cookies = other.cookies
        assert (await guarded.get("/session")).status_code == 200, "it was logged out with the other"


@pytest.mark.parametrize(("host", "name"), [("head.example", "toprung_session"), ("[::1]:80", "toprung_session_80")])
async def test_the_cookie_is_named_by_the_port_that_the_browser_sees(
    guarded: httpx.AsyncClient, store: Store, host: str, name: str
) -> None:
    token = store.create_token("alice", Scope.READ).token
    headers = {**OURS, "Host": host, "Origin": f"http://{host}"}
    answer = await guarded.post("/session", json={"token": token}, headers=headers)
    assert answer.headers["set-cookie"].startswith(f"{name}=")


async def test_the_audit_log_has_who_came_and_went(guarded: httpx.AsyncClient, store: Store, tmp_path: Path) -> None:
    token = store.create_token("alice", Scope.READ)
    await log_in(guarded, "tpr_wrong")
    await log_in(guarded, token.token)
    await guarded.delete("/session", headers=OURS)
    text = (tmp_path / "audit.jsonl").read_text()
    entries = [json.loads(line) for line in text.splitlines()]
    assert [(entry["owner"], entry["token"], entry["action"]) for entry in entries] == [
        ("alice", token.id, "beginSession"),
        ("alice", token.id, "endSession"),
    ]
    assert token.token not in text


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": ORIGIN},
        {"X-Toprung": "page"},
        {"X-Toprung": "other", "Origin": ORIGIN},
        {"X-Toprung": "page", "Origin": "https://evil.example"},
        {"X-Toprung": "page", "Origin": "null"},
        {"X-Toprung": "page", "Origin": ORIGIN, "Sec-Fetch-Site": "same-site"},
        {"X-Toprung": "page", "Sec-Fetch-Site": "cross-site"},
        {"X-Toprung": "page", "Sec-Fetch-Site": "none"},
    ],
)
async def test_a_cookie_changes_nothing_for_another_sites_page(
    guarded: httpx.AsyncClient, store: Store, headers: dict[str, str]
) -> None:
    await log_in(guarded, store.create_token("alice", Scope.ADMIN).token)
    yaml = {"Content-Type": "application/yaml"}

    refused = await guarded.post("/v1/sweeps", content=SPEC, headers=yaml | headers)

    assert refused.status_code == 403
    assert refused.json()["code"] in ("forbidden", "cross_site")
    assert (await guarded.delete("/session", headers=headers)).status_code == 403
    assert (await guarded.post("/session", json={"token": "x"}, headers=headers)).status_code == 403
    assert store.list_sweeps().items == []
    assert (await guarded.get("/session")).status_code == 200


async def test_a_cookie_does_for_our_page_what_its_token_may(guarded: httpx.AsyncClient, store: Store) -> None:
    await log_in(guarded, store.create_token("bob", Scope.READ).token)
    headers = {**OURS, "Content-Type": "application/yaml"}
    assert (await guarded.post("/v1/sweeps:validate", content=SPEC, headers=headers)).status_code == 200
    assert (await guarded.post("/v1/sweeps", content=SPEC, headers=headers)).json()["code"] == "forbidden"
    await log_in(guarded, store.create_token("alice", Scope.WRITE).token)
    made = await guarded.post("/v1/sweeps", content=SPEC, headers=headers)
    assert (made.status_code, made.json()["owner"]) == (201, "alice")


async def test_a_token_in_the_header_goes_before_the_cookie(guarded: httpx.AsyncClient, store: Store) -> None:
    await log_in(guarded, store.create_token("bob", Scope.READ).token)
    alice = {"Authorization": f"Bearer {store.create_token('alice', Scope.ADMIN).token}"}
    assert (await guarded.get("/session", headers=alice)).json()["owner"] == "alice"
    assert (await guarded.get("/v1/tokens", headers=alice)).status_code == 200
    assert (await guarded.get("/session", headers={"Authorization": "Bearer tpr_x"})).status_code == 401


async def test_without_access_control_there_is_no_login(http: httpx.AsyncClient) -> None:
    nobody = {"auth": False, "owner": None, "scope": "admin"}
    assert (await http.get("/session")).json() == nobody
    answer = await http.post("/session", json={"token": "x"}, headers={"Origin": "http://localhost"})
    assert answer.json() == nobody
    assert "set-cookie" not in answer.headers
