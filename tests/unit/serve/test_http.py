"""The HTTP contract: errors of one shape, submissions that count once, pages, streams."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import Any

import httpx
import pytest

from toprung.serve.http import board, login, page, studies
from toprung.serve.http.app import create_app
from toprung.serve.store import Store
from toprung.tuning.records import Batch, Result, SweepState, Trial, TrialState, utc_now
from toprung.tuning.spec import parse_spec

YAML = {"Content-Type": "application/yaml"}
SPEC = """\
name: demo
trainable: train:train
metric: {name: loss, goal: minimize}
parameters: {x: {type: float, low: 0.0, high: 1.0}}
budget: {trials: 3}
"""
SEVEN_MISTAKES = """\
name: Digits CNN
trainable: train
metric: {name: loss, goal: min}
parameters:
  lr: {type: float, low: 0.1, high: 1e-4}
  momentum: {type: float, low: 0.0, high: 0.9, when: {optimizer: sgd}}
scheduler: {type: asha, maxt: 27}
budget: {trials: 0}
"""


async def submitted(http: httpx.AsyncClient, text: str = SPEC, **headers: str) -> dict[str, Any]:
    answer = await http.post("/v1/sweeps", content=text, headers=YAML | headers)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


def reported(store: Store, sweep_id: str, values: list[float]) -> None:
    """A trial for each value, all completed after one step."""
    store.set_sweep_state(sweep_id, SweepState.RUNNING)
    trials = [
        Trial(
            sweep_id=sweep_id,
            number=number,
            state=TrialState.COMPLETED,
            params={"x": value},
            config={"x": value},
            attempt=1,
            step=1,
            value=value,
            best_step=1,
            created_at=utc_now(),
        )
        for number, value in enumerate(values)
    ]
    results = [
        Result(
            number=number,
            step=1,
            attempt=1,
            reported_at=utc_now(),
            time_total_s=0.1,
            metrics={"loss": value, "bad": float("nan")},
        )
        for number, value in enumerate(values)
    ]
    store.write(Batch(sweep_id=sweep_id, trials=trials, results=results))


class TestErrors:
    @pytest.mark.parametrize(
        ("method", "path", "content", "headers", "status", "code"),
        [
            ("POST", "/v1/sweeps", "a: [1", YAML, 400, "malformed"),
            ("POST", "/v1/sweeps", "{", {"Content-Type": "application/json"}, 400, "malformed"),
            ("POST", "/v1/sweeps", b"\xff\xfe\x00", YAML, 400, "malformed"),
            ("POST", "/v1/sweeps", SPEC, {"Content-Type": "image/png"}, 415, "unsupported_media_type"),
            ("POST", "/v1/sweeps", "#" * 1_100_000, YAML, 413, "too_large"),
            ("POST", "/v1/sweeps", SPEC, YAML | {"Origin": "http://evil.example"}, 403, "cross_site"),
            ("GET", "/v1/sweeps", None, {"Host": "evil.example"}, 421, "misdirected_request"),
            ("GET", "/v1/sweeps?limit=0", None, {}, 400, "malformed"),
            ("GET", "/v1/sweeps?colour=red", None, {}, 400, "malformed"),
            ("GET", "/v1/sweeps?cursor=nonsense", None, {}, 400, "malformed"),
            ("GET", "/v1/sweeps/none", None, {}, 404, "not_found"),
            ("GET", "/v1/nothing", None, {}, 404, "not_found"),
            ("DELETE", "/v1/sweeps", None, {}, 405, "method_not_allowed"),
            ("PUT", f"/v1/packages/{'0' * 64}", b"zip", {"Content-Type": "application/zip"}, 400, "malformed"),
        ],
    )
    async def test_have_one_shape(
        self, http: httpx.AsyncClient, method: str, path: str, content: Any, headers: Any, status: int, code: str
    ) -> None:
        answer = await http.request(method, path, content=content, headers=headers)

        problem = answer.json()
        assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code)
        assert answer.headers["content-type"] == "application/problem+json"
        assert problem["request_id"] == answer.headers["x-request-id"]
        assert problem["detail"]
        assert isinstance(problem["errors"], list)
        assert "Traceback" not in answer.text

    async def test_all_mistakes_of_a_spec_come_at_once(self, http: httpx.AsyncClient, store: Store) -> None:
        for path in ("/v1/sweeps", "/v1/sweeps:validate"):
            answer = await http.post(path, content=SEVEN_MISTAKES, headers=YAML)

            assert answer.status_code == 422
            assert {problem["pointer"]: problem["line"] for problem in answer.json()["errors"]} == {
                "/name": 1,
                "/trainable": 2,
                "/metric/goal": 3,
                "/parameters/lr/low": 5,
                "/parameters/momentum/when/optimizer": 6,
                "/scheduler/maxt": 7,
                "/budget/trials": 8,
            }
        assert store.list_sweeps().items == []

    async def test_a_sweep_pauses_and_goes_on(self, http: httpx.AsyncClient) -> None:
        sweep = await submitted(http)
        for action, state in (("pause", "paused"), ("resume", "queued")):
            answer = await http.post(f"/v1/sweeps/{sweep['id']}:{action}")
            assert (answer.status_code, answer.json()["state"]) == (202, state)

        answer = await http.post(f"/v1/sweeps/{sweep['id']}:resume")

        assert (answer.status_code, answer.json()["state"]) == (409, "queued")

    async def test_a_finished_sweep_is_not_cancelled(self, http: httpx.AsyncClient) -> None:
        sweep = await submitted(http)
        assert (await http.post(f"/v1/sweeps/{sweep['id']}:cancel")).json()["state"] == "cancelled"

        answer = await http.post(f"/v1/sweeps/{sweep['id']}:cancel")

        assert (answer.status_code, answer.json()["state"]) == (409, "cancelled")

    async def test_a_fault_of_ours_is_a_problem_too(self, http: httpx.AsyncClient, store: Store) -> None:
        store.close()  # what the store raises now is none of our own errors
        store.get_sweep = None  # type: ignore[method-assign, assignment]

        answer = await http.get("/v1/sweeps/any")

        assert (answer.status_code, answer.json()["code"]) == (500, "internal")
        assert answer.json()["request_id"] in answer.json()["detail"]


class TestSubmission:
    async def test_says_where_it_is(self, http: httpx.AsyncClient) -> None:
        answer = await http.post("/v1/sweeps", content=SPEC, headers=YAML)

        assert answer.headers["location"] == f"/v1/sweeps/{answer.json()['id']}"
        assert (await http.get(answer.headers["location"])).json() == answer.json()

    async def test_the_same_key_makes_one_sweep(self, http: httpx.AsyncClient) -> None:
        headers = YAML | {"Idempotency-Key": "once"}
        first = await http.post("/v1/sweeps", content=SPEC, headers=headers)
        again = await http.post("/v1/sweeps", content=SPEC, headers=headers)
        other = await http.post("/v1/sweeps", content=SPEC.replace("3", "4"), headers=headers)

        assert (first.status_code, again.status_code, other.status_code) == (201, 200, 409)
        assert first.json()["id"] == again.json()["id"]

    async def test_uploaded_code_can_be_used(self, http: httpx.AsyncClient) -> None:
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            archive.writestr("train.py", "def train(config): ...")
        sha256 = hashlib.sha256(package.getvalue()).hexdigest()
        spec = f"{SPEC}code: sha256:{sha256}\n"
        missing = await http.post("/v1/sweeps", content=spec, headers=YAML)
        put = [
            (
                await http.put(
                    f"/v1/packages/{sha256}", content=package.getvalue(), headers={"Content-Type": "application/zip"}
                )
            ).status_code
            for _ in range(2)
        ]

        assert [problem["code"] for problem in missing.json()["errors"]] == ["missing_package"]
        assert put == [201, 200]
        assert (await submitted(http, spec))["spec"]["code"] == f"sha256:{sha256}"

    @pytest.mark.parametrize("name", ["../up.py", "/etc/cron.d/x", "a/../../b", "C:\\x"])
    async def test_code_that_leads_out_of_its_folder_is_refused(self, http: httpx.AsyncClient, name: str) -> None:
        package = io.BytesIO()
        with zipfile.ZipFile(package, "w") as archive:
            archive.writestr(zipfile.ZipInfo(name), "x")
        sha256 = hashlib.sha256(package.getvalue()).hexdigest()

        answer = await http.put(
            f"/v1/packages/{sha256}", content=package.getvalue(), headers={"Content-Type": "application/zip"}
        )

        assert answer.status_code == 400
        assert [problem["code"] for problem in answer.json()["errors"]] == ["unsafe_path"]
        assert (await http.get(f"/v1/packages/{sha256}")).status_code == 404


class TestReading:
    async def test_pages(self, http: httpx.AsyncClient, store: Store) -> None:
        sweep = await submitted(http)
        reported(store, sweep["id"], [0.5, 0.1, 0.3])
        seen, cursor = [], None
        while True:
            params: dict[str, Any] = {"limit": 2, "order_by": "value"} | ({"cursor": cursor} if cursor else {})
            page = (await http.get(f"/v1/sweeps/{sweep['id']}/trials", params=params)).json()
            seen += [trial["value"] for trial in page["items"]]
            cursor = page["next_cursor"]
            if cursor is None:
                break

        assert seen == [0.1, 0.3, 0.5]

    async def test_nan_is_null(self, http: httpx.AsyncClient, store: Store) -> None:
        sweep = await submitted(http)
        reported(store, sweep["id"], [0.5])

        answer = await http.get(f"/v1/sweeps/{sweep['name']}/trials/0/results")
        lines = await http.get(
            f"/v1/sweeps/{sweep['name']}/trials/0/results", headers={"Accept": "application/x-ndjson"}
        )

        assert answer.json()["items"][0]["metrics"] == {"loss": 0.5, "bad": None}
        assert "NaN" not in answer.text + lines.text
        assert [json.loads(line)["step"] for line in lines.text.splitlines()] == [1]

    async def test_best(self, http: httpx.AsyncClient, store: Store) -> None:
        sweep = await submitted(http)
        reported(store, sweep["id"], [0.5, 0.1, 0.3])

        items = (await http.get(f"/v1/sweeps/{sweep['id']}/best?k=2")).json()["items"]

        assert [(item["rank"], item["trial"]["number"]) for item in items] == [(1, 1), (2, 2)]
        assert items[0]["why"].startswith("lowest loss of 3 trials: 0.1 at step 1")
        assert items[0]["metrics"]["loss"] == 0.1

    async def test_what_has_not_changed_is_not_sent_again(self, http: httpx.AsyncClient, store: Store) -> None:
        sweep = await submitted(http)
        path = f"/v1/sweeps/{sweep['id']}"
        tag = (await http.get(path)).headers["etag"]

        same = await http.get(path, headers={"If-None-Match": tag})
        reported(store, sweep["id"], [0.5])
        changed = await http.get(path, headers={"If-None-Match": tag})

        assert (same.status_code, same.content, changed.status_code) == (304, b"", 200)


class TestEvents:
    async def test_go_on_after_the_last_one_and_end_with_the_sweep(self, http: httpx.AsyncClient, store: Store) -> None:
        sweep = await submitted(http)
        reported(store, sweep["id"], [0.5])
        store.set_sweep_state(sweep["id"], SweepState.SUCCEEDED)
        path = f"/v1/sweeps/{sweep['id']}/events"

        whole = events((await http.get(path)).text)
        ids = [event["id"] for event in whole]
        rest = events((await http.get(path, headers={"Last-Event-ID": str(ids[1])})).text)
        nothing = await http.get(path, headers={"Last-Event-ID": str(ids[-1])})

        assert ids == sorted(set(ids))
        assert [event["data"]["state"] for event in whole if event["type"] == "sweep.state"] == [
            "queued",
            "running",
            "succeeded",
        ]
        assert rest == whole[2:]
        assert nothing.status_code == 204

    async def test_none_of_the_past_for_who_starts_with_the_newest(self, http: httpx.AsyncClient, store: Store) -> None:
        sweep = await submitted(http)
        store.set_sweep_state(sweep["id"], SweepState.CANCELLED)
        path = f"/v1/sweeps/{sweep['id']}/events"
        assert (await http.get(path, params={"last_event_id": "newest"})).status_code == 204
        wrong = await http.get(path, params={"last_event_id": "oldest"})
        assert (wrong.status_code, wrong.json()["errors"][0]["pointer"]) == (400, "/query/last_event_id")


def events(text: str) -> list[dict[str, Any]]:
    return [json.loads(line.removeprefix("data: ")) for line in text.splitlines() if line.startswith("data: ")]


class TestTheServiceItself:
    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/v1/schema", "/v1/version"])
    async def test_answers(self, http: httpx.AsyncClient, path: str) -> None:
        assert (await http.get(path)).status_code == 200

    async def test_openapi_has_every_route(self, http: httpx.AsyncClient, store: Store, tmp_path: Any) -> None:
        document = (await http.get("/openapi.json")).json()
        routes = create_app(store, tmp_path).state.routes
        for_browsers = (board, login, page, studies)  # not the API
        hidden = [route for module in for_browsers for route in module.router.routes]

        assert document["openapi"].startswith("3.1")
        assert sum(len(operations) for operations in document["paths"].values()) == len(routes) - len(hidden)
        for path, operations in document["paths"].items():
            assert any(regex.match(path) for regex, _ in routes)
            for operation in operations.values():
                problems = [a for status, a in operation["responses"].items() if status >= "400"]
                assert all(set(answer["content"]) == {"application/problem+json"} for answer in problems)


async def test_a_spec_is_a_file_to_begin_another_sweep_with(http: httpx.AsyncClient) -> None:
    made = await submitted(http)
    for sweep in (made["id"], "demo"):
        answer = await http.get(f"/v1/sweeps/{sweep}/spec")
        assert answer.headers["content-type"].startswith("application/yaml")
        assert "scheduler" not in answer.text, "what it left to the service is not in it"
        assert parse_spec(answer.text) == parse_spec(SPEC)
    assert (await http.get("/v1/sweeps/nobody/spec")).status_code == 404
