"""Retries, and what users are told when something is wrong with the service or the way to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.client.client_help import SPEC, URL, Chunks, Connect, answer, problem, sweep

from toprung.client import Client
from toprung.errors import (
    Conflict,
    InternalError,
    InvalidSpec,
    Malformed,
    NoService,
    NotFound,
    Problem,
    ToprungError,
    Unavailable,
)
from toprung.tuning.records import SweepState


class Script:
    """Answers with one thing after the other: a response, or an exception; keeps the requests."""

    def __init__(self, *steps: httpx.Response | Exception) -> None:
        self._steps = list(steps)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        step = self._steps.pop(0)
        if isinstance(step, Exception):
            raise step
        return step


def broken_off() -> httpx.Response:
    body = Chunks([b'{"id": "swp_'], httpx.RemoteProtocolError("peer closed connection"))
    return httpx.Response(200, headers={"content-type": "application/json"}, stream=body)


@pytest.mark.parametrize(
    "fault",
    [
        lambda: problem(429, "unavailable"),
        lambda: problem(502, "unavailable"),
        lambda: problem(503, "unavailable"),
        lambda: problem(504, "unavailable"),
        lambda: httpx.Response(502, headers={"content-type": "text/html"}, text="<h1>Bad Gateway</h1>"),
        lambda: httpx.Response(500, headers={"content-type": "text/plain"}, text="Internal Server Error"),
        lambda: httpx.ConnectError("refused"),
        lambda: httpx.ReadError("reset"),
        lambda: httpx.RemoteProtocolError("closed"),
        broken_off,
    ],
    ids=["429", "502", "503", "504", "proxy", "replica", "refused", "reset", "closed", "broken off"],
)
def test_a_passing_fault_is_not_noticed(
    connect: Connect, naps: list[float], fault: Callable[[], httpx.Response | Exception]
) -> None:
    script = Script(fault(), answer(sweep()))

    assert connect(script).sweep("digits").id == "swp_1"
    assert len(naps) == 1


def test_a_submission_is_repeated_with_the_same_key(connect: Connect, naps: list[float]) -> None:
    script = Script(httpx.ReadError("reset"), problem(503, "unavailable"), answer(sweep(), 201))

    connect(script).submit(SPEC)

    keys = {request.headers["idempotency-key"] for request in script.requests}
    assert len(script.requests) == 3
    assert len(keys) == 1


def test_each_submission_has_its_own_key_unless_given(connect: Connect) -> None:
    script = Script(*(answer(sweep(), 201) for _ in range(3)))
    client = connect(script)

    client.submit(SPEC)
    client.submit(SPEC)
    client.submit(SPEC, idempotency_key="mine")

    first, second, third = (request.headers["idempotency-key"] for request in script.requests)
    assert first != second
    assert third == "mine"


def test_the_delays_grow_and_are_bounded(connect: Connect, naps: list[float]) -> None:
    script = Script(*(problem(503, "unavailable", "The store is locked.") for _ in range(5)))

    with pytest.raises(Unavailable, match=r"The store is locked\."):
        connect(script).sweep("digits")

    assert [low <= nap <= 2 * low for low, nap in zip([0.25, 0.5, 1, 2], naps, strict=True)] == [True] * 4


@pytest.mark.parametrize(
    ("header", "expected"), [("7", 7.0), ("0", 0.0), ("3600", 60.0), ("Wed, 01 Jan 2020 00:00:00 GMT", 0.0)]
)
def test_the_service_says_when_to_come_back(connect: Connect, naps: list[float], header: str, expected: float) -> None:
    script = Script(problem(503, "unavailable", headers={"retry-after": header}), answer(sweep()))

    connect(script).sweep("digits")

    assert sum(naps) == expected


def test_errors_are_not_repeated(connect: Connect, naps: list[float]) -> None:
    script = Script(problem(500, "internal"))

    with pytest.raises(InternalError):
        connect(script).sweep("digits")
    assert len(script.requests) == 1


def test_a_refused_connection_is_reported_at_once(connect: Connect, naps: list[float]) -> None:
    script = Script(*(httpx.ConnectError("refused") for _ in range(9)))

    with pytest.raises(NoService) as caught:
        connect(script).sweep("digits")

    assert caught.value.detail == f"No Toprung service at {URL}. Start one with `toprung up`, or set TOPRUNG_URL."
    assert len(script.requests) == 2
    assert sum(naps) < 0.5


def test_a_service_that_was_there_may_restart(connect: Connect, naps: list[float]) -> None:
    script = Script(answer(sweep()), *(httpx.ConnectError("refused") for _ in range(4)), answer(sweep()))
    client = connect(script)

    client.sweep("digits")

    assert client.sweep("digits").id == "swp_1"


def test_a_timeout_is_tried_once_more(connect: Connect, naps: list[float]) -> None:
    script = Script(httpx.ReadTimeout("30 s"), httpx.ReadTimeout("30 s"))

    with pytest.raises(Unavailable, match="timeout_s"):
        connect(script).sweep("digits")


@pytest.mark.parametrize(
    "stranger",
    [
        lambda: httpx.Response(200, headers={"content-type": "text/html"}, text="<h1>It works!</h1>"),
        lambda: httpx.Response(404, headers={"content-type": "text/html"}, text="<h1>Not Found</h1>"),
        lambda: httpx.Response(404, json={"detail": "Not Found"}),
        lambda: httpx.Response(302, headers={"location": "https://login.test"}),
        lambda: httpx.Response(200),
    ],
    ids=["page", "no page", "another API", "redirect", "empty"],
)
def test_another_service_at_the_url_is_named(connect: Connect, stranger: Callable[[], httpx.Response]) -> None:
    with pytest.raises(NoService, match=f"^{URL} answers, but not as a Toprung service.*TOPRUNG_URL"):
        connect(Script(stranger())).sweep("digits")


def test_a_record_of_another_version_is_named(connect: Connect) -> None:
    newer = sweep().model_dump(mode="json") | {"mood": "good"}

    with pytest.raises(InternalError, match="mood"):
        connect(Script(answer(newer))).sweep("digits")


def test_the_error_is_what_the_service_meant(connect: Connect) -> None:
    errors = [{"pointer": "/name", "code": "bad_name", "message": "no", "hint": "yes", "line": 3, "column": 7}]
    refused = problem(422, "invalid_spec", "One problem.", errors=errors)

    with pytest.raises(InvalidSpec) as caught:
        connect(Script(refused)).submit(SPEC)

    assert caught.value.detail == "One problem."
    assert caught.value.problems == (Problem("/name", "bad_name", "no", "yes", 3, 7),)
    assert caught.value.request_id == "req_1"


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"errors": [1, {}], "code": 7}'])
def test_a_mangled_problem_is_still_an_error_of_ours(connect: Connect, body: bytes) -> None:
    mangled = httpx.Response(404, headers={"content-type": "application/problem+json"}, content=body)

    with pytest.raises(ToprungError):
        connect(Script(mangled)).sweep("digits")


def test_cancelling_twice_by_ourselves_is_a_success(connect: Connect, naps: list[float]) -> None:
    cancelled = sweep(SweepState.CANCELLED)
    script = Script(
        answer(sweep()), httpx.ReadError("reset"), problem(409, "conflict", state="cancelled"), answer(cancelled)
    )
    handle = connect(script).sweep("digits")

    assert handle.cancel() == cancelled
    assert handle.state == "cancelled"


@pytest.mark.parametrize("faults", [0, 1])
def test_what_is_gone_was_deleted_by_us_if_an_answer_was_lost(connect: Connect, naps: list[float], faults: int) -> None:
    lost = [httpx.ReadError("reset")] * faults
    script = Script(answer(sweep(SweepState.FAILED)), *lost, problem(404, "not_found", "There is no sweep 'swp_1'."))
    handle = connect(script).sweep("digits")

    if faults:
        handle.delete()
    else:
        with pytest.raises(NotFound, match="no sweep 'swp_1'"):
            handle.delete()

    sent = [(request.method, request.url.path) for request in script.requests[1:]]
    assert sent == [("DELETE", "/v1/sweeps/swp_1")] * (faults + 1)


@pytest.mark.parametrize(("faults", "state"), [(0, "cancelled"), (1, "succeeded")])
def test_cancelling_what_has_ended_is_a_conflict(connect: Connect, naps: list[float], faults: int, state: str) -> None:
    script = Script(
        answer(sweep()), *[httpx.ReadError("reset")] * faults, problem(409, "conflict", "It has ended.", state=state)
    )

    with pytest.raises(Conflict) as caught:
        connect(script).sweep("digits").cancel()
    assert caught.value.state == state


@pytest.mark.parametrize("url", ["", "127.0.0.1:8000", "ftp://host", "http://", "http://host:port"])
def test_a_url_that_cannot_be_is_refused(url: str) -> None:
    with pytest.raises(Malformed, match="should look like http://127"):
        Client(url)


def test_where_the_service_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPRUNG_HOME", str(tmp_path))
    monkeypatch.delenv("TOPRUNG_URL", raising=False)
    service = tmp_path / "service.json"

    assert Client().url == "http://127.0.0.1:8000"
    service.write_text("{")
    assert Client().url == "http://127.0.0.1:8000"
    service.write_text(json.dumps({"url": "http://127.0.0.1:9001", "pid": 1}))
    assert Client().url == "http://127.0.0.1:9001"
    monkeypatch.setenv("TOPRUNG_URL", "https://tune.example/toprung/")
    assert Client().url == "https://tune.example/toprung"
    assert Client("http://other:1").url == "http://other:1"


def test_a_service_below_a_path(connect: Connect) -> None:
    script = Script(answer({"version": "1", "ray": "2"}))

    assert connect(script, url="https://tune.example/toprung/").version() == {"version": "1", "ray": "2"}
    assert str(script.requests[0].url) == "https://tune.example/toprung/v1/version"


def test_names_are_quoted(connect: Connect) -> None:
    script = Script(problem(404, "not_found"))

    with pytest.raises(NotFound):
        connect(script).sweep("../x?y")
    assert script.requests[0].url.raw_path == b"/v1/sweeps/..%2Fx%3Fy"


def test_a_loopback_service_is_not_asked_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")

    def proxied(url: str) -> Any:
        with Client(url) as client:
            return client._http._mounts  # the transports for proxies; httpx shows them nowhere else

    assert not any(proxied("http://127.0.0.1:8000").values())
    assert not any(proxied("http://localhost:8000").values())
    assert any(proxied("http://tune.example").values())
