"""Who gets to see TensorBoard's pages. TensorBoard itself is not started here: tests/integration/tracking does."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute

from toprung.access import Scope
from toprung.serve.http import board
from toprung.serve.http.app import create_app
from toprung.serve.http.sessions import SESSION_S
from toprung.serve.store import Store
from toprung.tuning.spec import spec_from

HTML = {"Accept": "text/html,*/*"}
NONE = "/tensorboard/swp_none/"
"""A sweep that isn't there: who is let through to it gets 404, and no TensorBoard is started."""


@pytest.fixture
async def guarded(store: Store, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app(store, tmp_path, auth=True), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://head.example:8000") as client:
        yield client


async def log_in(http: httpx.AsyncClient, token: str, page: str = "") -> httpx.Response:
    return await http.post("/tensorboard/session", params={"page": page} if page else {}, data={"token": token})


async def test_a_stranger_is_shown_the_form_or_told(guarded: httpx.AsyncClient) -> None:
    page = await guarded.get(f"{NONE}?a=b", headers=HTML)
    assert (page.status_code, page.headers["cache-control"]) == (401, "no-store")
    assert "/tensorboard/session?page=%2Ftensorboard%2Fswp_none%2F%3Fa%3Db" in page.text
    assert "default-src 'none'" in page.headers["content-security-policy"]
    data = await guarded.get(f"{NONE}data/runs", headers={"Accept": "application/json"})
    assert (data.status_code, data.json()["code"]) == (401, "unauthorized")
    assert (await guarded.post(f"{NONE}data/x", headers=HTML)).json()["code"] == "unauthorized"


async def test_every_path_below_asks_who_it_is() -> None:
    paths = [route.path for route in board.router.routes if isinstance(route, APIRoute)]
    assert sorted(paths) == ["/tensorboard", "/tensorboard/session", "/tensorboard/{path:path}"]


async def test_a_token_opens_a_session_for_these_pages_alone(guarded: httpx.AsyncClient, store: Store) -> None:
    token = store.create_token("alice", Scope.READ)

    answer = await log_in(guarded, f" {token.token} ", NONE)

    assert (answer.status_code, answer.headers["location"]) == (303, NONE)
    cookie = answer.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=lax", "Path=/tensorboard", f"Max-Age={SESSION_S}"):
        assert part in cookie
    assert token.token not in cookie
    assert token.token[16:] not in cookie
    assert (await guarded.get(NONE, headers=HTML)).status_code == 404
    assert (await guarded.get("/v1/sweeps", headers={"Cookie": cookie.partition(";")[0]})).status_code == 401
    store.revoke_token(token.id)
    assert (await guarded.get(NONE, headers=HTML)).status_code == 401


async def test_a_token_in_the_header_will_do(guarded: httpx.AsyncClient, store: Store) -> None:
    token = store.create_token("alice", Scope.READ).token
    assert (await guarded.get(NONE, headers={"Authorization": f"Bearer {token}"})).status_code == 404
    wrong = await guarded.get(NONE, headers=HTML | {"Authorization": "Bearer tpr_x"})
    assert wrong.json()["code"] == "unauthorized"


@pytest.mark.parametrize("given", ["nonsense", "", "tpr_<script>", "é"])
async def test_a_wrong_token_is_asked_for_again(guarded: httpx.AsyncClient, given: str) -> None:
    answer = await log_in(guarded, given)
    assert answer.status_code == 401
    assert "none of the service" in answer.text
    assert "<script>" not in answer.text
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize("page", ["https://evil.example/", "//evil.example", "/v1/sweeps", "javascript:0"])
async def test_a_session_leads_nowhere_else(guarded: httpx.AsyncClient, store: Store, page: str) -> None:
    answer = await log_in(guarded, store.create_token("alice", Scope.READ).token, page)
    assert answer.headers["location"] == "/tensorboard/"


async def test_another_site_cannot_log_in(guarded: httpx.AsyncClient, store: Store) -> None:
    token = store.create_token("alice", Scope.READ).token
    headers = {"Origin": "https://evil.example"}
    answer = await guarded.post("/tensorboard/session", data={"token": token}, headers=headers)
    assert answer.status_code == 403


async def test_without_access_control_it_is_open(http: httpx.AsyncClient, store: Store) -> None:
    assert (await http.get(NONE)).status_code == 404
    assert (await http.get("/tensorboard?x=1")).headers["location"] == "/tensorboard/?x=1"
    spec = spec_from(
        {
            "trainable": "train:train",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
            "budget": {"trials": 1},
            "tracking": {"tensorboard": False},
        }
    )
    sweep, _ = store.create_sweep(spec, name="untold", num_trials=1)
    answer = await http.get(f"/tensorboard/{sweep.id}/")
    assert answer.status_code == 404
    assert "tracking.tensorboard: false" in answer.json()["detail"]


async def test_it_is_not_in_the_document(http: httpx.AsyncClient) -> None:
    assert not [path for path in (await http.get("/openapi.json")).json()["paths"] if "tensorboard" in path]
