"""Changing sweeps over HTTP: preconditions, wrong states, bad bodies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.serve.test_http import reported, submitted

from toprung.serve.store import Store
from toprung.tuning.records import Batch, RunEnvironment, SweepState, Trial, TrialState, utc_now
from toprung.tuning.run.seeds import sweep_seed, trial_seed


def trial(sweep_id: str, number: int, state: TrialState, x: float, **more: Any) -> Trial:
    given = {"sweep_id": sweep_id, "number": number, "state": state, "params": {"x": x}, "config": {"x": x}}
    return Trial.model_validate({**given, "attempt": 1, "created_at": utc_now(), **more})


async def etag_of(http: httpx.AsyncClient, sweep_id: str) -> str:
    return (await http.get(f"/v1/sweeps/{sweep_id}")).headers["etag"]


async def test_an_edit_needs_what_the_caller_has_seen(http: httpx.AsyncClient, store: Store) -> None:
    made = await submitted(http)
    path, seen = f"/v1/sweeps/{made['id']}", await etag_of(http, made["id"])
    missing = await http.patch(path, json={"concurrency": 2})
    assert (missing.status_code, missing.json()["code"]) == (428, "precondition_required")

    reported(store, made["id"], [0.5])  # new results are no reason to refuse
    assert await etag_of(http, made["id"]) != seen
    first = await http.patch(path, json={"concurrency": 2}, headers={"If-Match": seen})
    assert (first.status_code, first.json()["spec"]["concurrency"]) == (200, 2)
    assert first.headers["etag"] == await etag_of(http, made["id"])

    second = await http.patch(path, json={"concurrency": 3}, headers={"If-Match": seen})
    assert (second.status_code, second.json()["code"]) == (412, "precondition_failed")
    weak = await http.patch(path, json={"concurrency": 3}, headers={"If-Match": f"W/{first.headers['etag']}"})
    assert weak.status_code == 412, "If-Match compares strongly"
    either = f'"other", {first.headers["etag"]}'
    assert (await http.patch(path, json={"concurrency": 3}, headers={"If-Match": either})).status_code == 200
    assert (await http.patch(path, json={"concurrency": 4}, headers={"If-Match": "*"})).status_code == 200


@pytest.mark.parametrize(
    ("body", "status", "pointer"),
    [
        (b"{", 400, None),
        (b"[1]", 400, None),
        (b'{"trainable": "a:b"}', 422, "/trainable"),
        (b'{"budget": {"trials": -1}, "weight": 0}', 422, "/budget/trials"),
    ],
)
async def test_bad_changes(http: httpx.AsyncClient, body: bytes, status: int, pointer: str | None) -> None:
    made = await submitted(http)
    headers = {"If-Match": "*", "Content-Type": "application/merge-patch+json"}
    answer = await http.patch(f"/v1/sweeps/{made['id']}", content=body, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert pointer is None or pointer in [error["pointer"] for error in answer.json()["errors"]]


async def test_extending_what_has_ended(http: httpx.AsyncClient, store: Store) -> None:
    made = await submitted(http)
    path = f"/v1/sweeps/{made['id']}"
    reported(store, made["id"], [0.5, 0.4, 0.3])
    store.set_sweep_state(made["id"], SweepState.SUCCEEDED)
    refused = await http.patch(path, json={"budget": {"trials": 6}}, headers={"If-Match": "*"})
    assert (refused.status_code, refused.json()["state"]) == (409, "succeeded")
    useless = await http.post(f"{path}:extend", json={"budget": {"trials": 3}})
    assert (useless.status_code, useless.json()["errors"][0]["pointer"]) == (422, "/budget/trials")
    for _ in range(2):  # the same again changes nothing
        extended = await http.post(f"{path}:extend", json={"budget": {"trials": 6}})
        assert (extended.status_code, extended.json()["state"], extended.json()["revision"]) == (202, "queued", 2)


async def test_trials_that_are_asked_for(http: httpx.AsyncClient, store: Store) -> None:
    made = await submitted(http)
    path = f"/v1/sweeps/{made['id']}"
    wrong = await http.post(f"{path}:enqueue", json={"config": {"x": 7, "z": 1}})
    assert wrong.status_code == 422
    assert [error["pointer"] for error in wrong.json()["errors"]] == ["/config/x", "/config/z"]
    for _ in range(2):
        asked = await http.post(f"{path}:enqueue", json={"config": {"x": 0.5}}, headers={"Idempotency-Key": "k"})
        assert (asked.status_code, asked.json()["num_trials"]) == (202, 4)
    nobody = await http.post(f"{path}:retry", json={})
    assert (nobody.status_code, nobody.json()["state"]) == (409, "queued")
    code = await http.post(f"{path}:retry", json={"code": "sha256:" + "0" * 64})
    assert (code.status_code, code.json()["errors"][0]["code"]) == (422, "missing_package")
    for body, pointer in (({"code": "../../etc/passwd"}, "/code"), ({"trial": [0]}, "/trial")):
        wrong = await http.post(f"{path}:retry", json=body)
        assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, pointer)


@pytest.mark.parametrize("action", ["extend", "enqueue", "retry", "clone"])
async def test_bodies_are_not_read_without_end(http: httpx.AsyncClient, action: str) -> None:
    made = await submitted(http)
    headers = {"Content-Type": "application/json"}
    answer = await http.post(f"/v1/sweeps/{made['id']}:{action}", content=b" " * (2**20 + 1), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    answer = await http.post(f"/v1/sweeps/{made['id']}:{action}", content=b"x=1")
    assert answer.status_code == 415


async def test_single_trials(http: httpx.AsyncClient, store: Store) -> None:
    made = await submitted(http)
    path = f"/v1/sweeps/{made['id']}/trials"
    store.set_sweep_state(made["id"], SweepState.RUNNING)
    going = trial(made["id"], 0, TrialState.RUNNING, 0.5)
    store.write(Batch(sweep_id=made["id"], trials=[going]))
    early = await http.post(f"{path}/0:retry")
    assert (early.status_code, early.json()["state"]) == (409, "running")
    stopped = await http.post(f"{path}/0:stop")
    assert (stopped.status_code, stopped.json()["stop_requested"]) == (202, True)
    over: dict[str, Any] = {"state": TrialState.CANCELLED, "ended_at": utc_now()}
    store.write(Batch(sweep_id=made["id"], trials=[going.model_copy(update=over)]))
    late = await http.post(f"{path}/0:stop")
    assert (late.status_code, late.json()["state"]) == (409, "cancelled")
    assert (await http.post(f"{path}/0:retry")).status_code == 202
    for nowhere in (9, 10**30):
        assert (await http.post(f"{path}/{nowhere}:stop")).status_code == 404


async def test_a_clone_is_another_sweep_with_changes(http: httpx.AsyncClient) -> None:
    made = await submitted(http)
    changes = {"name": "again", "parameters": {"x": {"high": 2.0}}, "budget": {"trials": None, "wall_time_s": 60}}
    answer = await http.post(f"/v1/sweeps/{made['id']}:clone", json=changes)
    assert answer.status_code == 201, answer.text
    clone = answer.json()
    assert answer.headers["location"] == f"/v1/sweeps/{clone['id']}"
    assert (clone["name"], clone["id"] != made["id"]) == ("again", True)
    assert clone["spec"]["parameters"] == {"x": {"type": "float", "low": 0.0, "high": 2.0}}
    assert (clone["spec"]["budget"]["trials"], clone["spec"]["budget"]["wall_time_s"]) == (None, 60)
    wrong = await http.post(f"/v1/sweeps/{made['id']}:clone", json={"metric": {"goal": "up"}})
    assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (422, "/metric/goal")
    other_type = {"parameters": {"x": {"type": "categorical", "choices": [1, 2]}}}
    answer = await http.post(
        f"/v1/sweeps/{made['id']}:clone",
        content=json.dumps(other_type).encode(),
        headers={"Content-Type": "application/json"},
    )
    assert answer.json()["spec"]["parameters"] == {"x": {"type": "categorical", "choices": [1, 2]}}


async def test_running_a_trial_again(http: httpx.AsyncClient, store: Store, tmp_path: Path) -> None:
    made = await submitted(http)
    reported(store, made["id"], [0.25, 0.75])
    package = tmp_path / "packages" / f"{'a' * 64}.zip"
    ran_in = RunEnvironment(python="3.11.7", platform="Linux", code=f"sha256:{package.stem}")
    more = {"step": 4, "retry_of": 0, "seed": 11, "environment": ran_in.key}
    asked = trial(made["id"], 2, TrialState.COMPLETED, 0.25, **more)
    store.write(Batch(sweep_id=made["id"], trials=[asked], environments=[ran_in]))
    path = f"/v1/sweeps/{made['id']}/trials"
    found = (await http.get(f"{path}/2/environment")).json()
    assert (found["seed"], found["environment"]["code"]) == (11, ran_in.code)
    assert (await http.get(f"{path}/0/environment")).json()["environment"] is None

    first, second = [await http.post(f"{path}/{number}:reproduce") for number in (0, 1)]
    assert (first.status_code, second.status_code) == (201, 201), first.text
    spec = first.json()["spec"]
    assert (spec["search"]["points"], spec["scheduler"]["max_t"]) == ([{"x": 0.25}], 1)
    assert spec["trial_seed"] == trial_seed(sweep_seed(None, made["id"]), 0, 1) != second.json()["spec"]["trial_seed"]

    gone = await http.post(f"{path}/2:reproduce")  # a retry, with code that its sweep has no longer
    assert (gone.status_code, gone.json()["code"]) == (404, "not_found")
    assert "no longer there" in gone.json()["detail"]
    package.write_bytes(b"zip")
    third = await http.post(f"{path}/2:reproduce")
    assert (third.status_code, third.json()["spec"]["code"]) == (201, ran_in.code), third.text
    assert third.json()["spec"]["trial_seed"] == spec["trial_seed"], "a retry has the seed of the first"
    again = await http.post(f"/v1/sweeps/{third.json()['id']}/trials/0:reproduce")
    assert again.status_code == 404, "it has no trial yet"


async def test_running_again_what_is_not_over(http: httpx.AsyncClient, store: Store) -> None:
    made = await submitted(http)
    reported(store, made["id"], [0.5])
    going = trial(made["id"], 1, TrialState.RUNNING, 0.1, step=4)
    store.write(Batch(sweep_id=made["id"], trials=[going]))
    answer = await http.post(f"/v1/sweeps/{made['id']}/trials/1:reproduce")
    assert (answer.status_code, answer.json()["code"], answer.json()["state"]) == (409, "conflict", "running")
