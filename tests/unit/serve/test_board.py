"""Who gets to see TensorBoard's pages. TensorBoard itself is not started here: tests/integration/tracking does."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from fastapi.routing import APIRoute

from toprung.access import Scope
from toprung.errors import Unavailable
from toprung.serve.http import board
from toprung.serve.store import Store
from toprung.serve.tracking.live import LiveBoards, Program
from toprung.tuning.spec import spec_from

HTML = {"Accept": "text/html,*/*"}
NONE = "/tensorboard/swp_none/"
"""A sweep that isn't there: who is let through to it gets 404, and no TensorBoard is started."""


async def test_a_stranger_is_led_to_the_login_or_told(guarded: httpx.AsyncClient) -> None:
    page = await guarded.get(f"{NONE}?a=b", headers=HTML)
    assert (page.status_code, page.headers["cache-control"]) == (303, "no-store")
    assert page.headers["location"] == "/login?next=%2Ftensorboard%2Fswp_none%2F%3Fa%3Db"
    data = await guarded.get(f"{NONE}data/runs", headers={"Accept": "application/json"})
    assert (data.status_code, data.json()["code"]) == (401, "unauthorized")
    assert (await guarded.post(f"{NONE}data/x", headers=HTML)).json()["code"] == "unauthorized"


async def test_every_path_below_asks_who_it_is() -> None:
    paths = [route.path for route in board.router.routes if isinstance(route, APIRoute)]
    assert sorted(paths) == ["/tensorboard", "/tensorboard/{path:path}"]


async def test_a_login_to_the_page_opens_these_too(guarded: httpx.AsyncClient, store: Store) -> None:
    token = store.create_token("alice", Scope.READ)
    ours = {"X-Toprung": "page", "Origin": "http://head.example:8000"}
    assert (await guarded.post("/session", json={"token": token.token}, headers=ours)).status_code == 200

    assert (await guarded.get(NONE, headers=HTML)).status_code == 404
    # TensorBoard's own pages ask by POST without our header: nothing is changed by it
    assert (await guarded.post(f"{NONE}data/x", headers=HTML)).status_code == 404
    store.revoke_token(token.id)
    assert (await guarded.get(NONE, headers=HTML)).status_code == 303


async def test_a_token_in_the_header_will_do(guarded: httpx.AsyncClient, store: Store) -> None:
    token = store.create_token("alice", Scope.READ).token
    assert (await guarded.get(NONE, headers={"Authorization": f"Bearer {token}"})).status_code == 404
    wrong = await guarded.get(NONE, headers=HTML | {"Authorization": "Bearer tpr_x"})
    assert wrong.json()["code"] == "unauthorized"


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


def test_one_that_never_gets_ready_is_given_up_and_started_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    code = "import time; time.sleep(600)"
    (tmp_path / "hangs.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    boards = LiveBoards(tmp_path, ready_s=0.1)
    try:
        for _ in range(2):
            with pytest.raises(Unavailable, match="Hanger did not start"):
                boards.socket_of("/hangs", tmp_path, Program("hangs", "Hanger"))
    finally:
        boards.close()
    assert caplog.text.count("Hanger is not ready after 0 s and is ended") == 2


async def test_it_is_not_in_the_document(http: httpx.AsyncClient) -> None:
    assert not [path for path in (await http.get("/openapi.json")).json()["paths"] if "tensorboard" in path]
