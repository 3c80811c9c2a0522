"""optuna-dashboard below /optuna/: who sees it, what it shows, that it changes nothing. Its process is a real one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from tests.unit.cli.cli_served import seeded

from toprung.access import Scope
from toprung.serve.home import Home
from toprung.serve.http import studies
from toprung.serve.http.app import close, create_app
from toprung.serve.store import Store

HTML = {"Accept": "text/html,*/*"}
CHANGING = ("POST", "PUT", "PATCH", "DELETE")


@pytest.fixture
async def guarded(store: Store, tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    home = Home.at(tmp_path)
    seeded("", store, home)
    app = create_app(store, tmp_path, auth=True)
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://head.example:8000", timeout=60) as client:
            yield client
    finally:
        close(app)


async def test_a_stranger_is_led_to_the_login_or_told(guarded: httpx.AsyncClient) -> None:
    page = await guarded.get("/optuna/dashboard", headers=HTML)
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=%2Foptuna%2Fdashboard")
    assert (await guarded.get("/optuna/api/studies")).json()["code"] == "unauthorized"


async def test_it_shows_sweeps_and_changes_nothing(guarded: httpx.AsyncClient, store: Store) -> None:
    ours = {"X-Toprung": "page", "Origin": "http://head.example:8000"}
    token = store.create_token("alice", Scope.ADMIN).token
    assert (await guarded.post("/session", json={"token": token}, headers=ours)).status_code == 200

    assert (await guarded.get("/optuna/", headers=HTML)).headers["location"] == "/optuna/dashboard"
    page = await guarded.get("/optuna/dashboard", headers=HTML)
    assert '"/optuna/static/bundle.js"' in page.text
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    script = await guarded.get("/optuna/static/bundle.js")
    assert script.headers["content-type"].startswith("text/javascript")
    assert 'url_prefix:"/optuna/dashboard"' in script.text
    found = (await guarded.get("/optuna/api/studies")).json()["study_summaries"]
    listed = {study["study_name"]: study for study in found}
    assert set(listed) == {"digits-cnn", "still-going", "waiting"}
    study_id = listed["digits-cnn"]["study_id"]
    detail = (await guarded.get(f"/optuna/api/studies/{study_id}?after=0")).json()
    assert [trial["state"] for trial in detail["trials"]] == ["Complete", "Pruned", "Fail"]
    assert detail["best_trials"][0]["values"] == [0.083]
    assert detail["trials"][0]["intermediate_values"][-1] == {"step": 27, "value": 0.083}

    for method in CHANGING:
        answer = await guarded.request(method, f"/optuna/api/studies/{study_id}", headers=ours, json={})
        assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD")
    assert store.get_sweep("digits-cnn").id


async def test_where_it_is_not_installed(http: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "find_spec", lambda _: None)
    answer = await http.get("/optuna/dashboard")
    assert (answer.status_code, "toprung[server,dashboard]" in answer.json()["detail"]) == (404, True)
