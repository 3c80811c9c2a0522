"""Deleting and cleaning up over HTTP, and streams of what is deleted."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
import pytest
from tests.unit.serve.test_http import SPEC, reported, submitted

from toprung.serve.home import Home
from toprung.serve.http.feed import Feed
from toprung.serve.http.packages import PackageStore
from toprung.serve.http.streams import event_stream, follow_log
from toprung.serve.store import Store
from toprung.tuning.records import Batch, SweepState, Trial, TrialState, utc_now

SHA = "a" * 64


async def ended(http: httpx.AsyncClient, store: Store, text: str = SPEC) -> str:
    """The id of a sweep that succeeded."""
    sweep_id: str = (await submitted(http, text))["id"]
    reported(store, sweep_id, [0.5])
    store.set_sweep_state(sweep_id, SweepState.SUCCEEDED)
    return sweep_id


async def test_a_finished_sweep_is_deleted(http: httpx.AsyncClient, store: Store) -> None:
    sweep_id = await ended(http, store)

    answer = await http.delete(f"/v1/sweeps/{sweep_id}")

    assert (answer.status_code, answer.content) == (204, b"")
    for path in ("", "/trials", "/trials/0", "/events", "/files"):
        assert (await http.get(f"/v1/sweeps/{sweep_id}{path}")).status_code == 404
    assert (await http.get("/v1/sweeps")).json()["items"] == []
    assert (await http.delete(f"/v1/sweeps/{sweep_id}")).status_code == 404


async def test_an_unfinished_one_is_not(http: httpx.AsyncClient) -> None:
    sweep = await submitted(http)

    answer = await http.delete(f"/v1/sweeps/{sweep['id']}")

    assert (answer.status_code, answer.json()["code"], answer.json()["state"]) == (409, "conflict", "queued")
    assert "toprung cancel demo" in answer.json()["detail"]
    assert (await http.get(f"/v1/sweeps/{sweep['id']}")).json() == sweep


async def test_who_has_seen_the_last_event_of_a_deleted_sweep_goes_on(http: httpx.AsyncClient, store: Store) -> None:
    sweep_id = await ended(http, store)
    last = store.last_event_id()
    await http.delete(f"/v1/sweeps/{sweep_id}")
    while not store.retention.remove_rows(sweep_id, 100):
        pass
    other = await ended(http, store)

    answer = await http.get(f"/v1/sweeps/{other}/events", headers={"Last-Event-ID": str(last)})

    assert answer.status_code == 200
    assert f"id: {last + 1}\n" in answer.text


async def test_what_a_sweep_has_on_disk(http: httpx.AsyncClient, store: Store, tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    sweep_id = await ended(http, store)
    checkpoint = home.runs / sweep_id / "000000" / "checkpoint_000000"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.pt").write_bytes(bytes(1000))

    answer = await http.get(f"/v1/sweeps/{sweep_id}/files")

    paths = [f"runs/{sweep_id}"]
    assert answer.json() == {"items": [{"kind": "checkpoints", "count": 1, "size_bytes": 1000, "paths": paths}]}


async def test_cleaning_up(http: httpx.AsyncClient, store: Store, tmp_path: Path) -> None:
    package = Home.at(tmp_path).package(SHA)
    package.write_bytes(b"zip")
    os.utime(package, (0, 0))

    said = await http.post("/v1/gc", params={"dry_run": True})
    there = package.exists()
    done = await http.post("/v1/gc")

    items = [{"kind": "unused_packages", "count": 1, "size_bytes": 3, "paths": [f"packages/{SHA}.zip"]}]
    assert said.json() == {"dry_run": True, "items": items, "problems": []}
    assert done.json() == {"dry_run": False, "items": items, "problems": []}
    assert (there, package.exists()) == (True, False)


@pytest.mark.parametrize(
    "query", ["dry_run=perhaps", "older_than_s=-1", "older_than_s=1e300", "older_than_s=nan", "dry=1"]
)
async def test_a_clean_up_that_is_not_meant_is_refused(http: httpx.AsyncClient, query: str) -> None:
    answer = await http.post(f"/v1/gc?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, "malformed")
    assert answer.json()["errors"][0]["pointer"] == f"/query/{query.partition('=')[0]}"


async def test_code_that_is_asked_for_stays_for_its_submission(http: httpx.AsyncClient, tmp_path: Path) -> None:
    package = Home.at(tmp_path).package(SHA)
    package.write_bytes(b"zip")
    os.utime(package, (0, 0))

    assert (await http.get(f"/v1/packages/{SHA}")).status_code == 200

    assert (await http.post("/v1/gc")).json()["items"] == []
    assert PackageStore(tmp_path / "packages").find("b" * 64) is None


async def test_the_stream_of_a_sweep_that_is_deleted_ends(http: httpx.AsyncClient, store: Store) -> None:
    """It was read up to a point before the sweep's last event, which is never to come now."""
    sweep_id = await ended(http, store)
    store.delete_sweep(sweep_id)
    feed = Feed(store)
    async with feed.watched():
        stream = event_stream(feed, 1, sweep_id, ping_s=0.0)

        sent = [chunk async for chunk in stream.body_iterator]

    assert [bytes(chunk) for chunk in sent] == [b"retry: 1000\n\n"]  # type: ignore[arg-type]


async def test_a_followed_log_of_a_sweep_that_is_deleted_ends(
    http: httpx.AsyncClient, store: Store, tmp_path: Path
) -> None:
    sweep_id = await ended(http, store)
    seen = Trial(
        sweep_id=sweep_id, number=0, state=TrialState.RUNNING, params={}, config={}, attempt=1, created_at=utc_now()
    )
    store.delete_sweep(sweep_id)

    assert [data async for data in follow_log(store, tmp_path / "none.log", 0, seen, 1)] == []


async def test_late_words_about_a_deleted_sweep_are_taken_and_dropped(http: httpx.AsyncClient, store: Store) -> None:
    sweep_id = await ended(http, store)
    await http.delete(f"/v1/sweeps/{sweep_id}")

    store.write(Batch(sweep_id=sweep_id, warnings=["late"]))

    assert store.events_after(0) == []
