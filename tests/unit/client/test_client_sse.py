"""Server-sent events: the parser, and streams that outlive their connections."""

from __future__ import annotations

import itertools
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.client.client_help import Chunks, Connect, event, problem

from toprung.client.sse import Message, SseParser
from toprung.errors import InternalError, NotFound, Unavailable

SSE = {"content-type": "text/event-stream"}


def parse(*chunks: bytes) -> list[Message]:
    parser = SseParser()
    return [message for chunk in chunks for message in parser.feed(chunk)]


def test_fields_comments_and_several_data_lines() -> None:
    stream = b": ping\n\nid: 7\nevent: decision\ndata: a\ndata:b\nunknown: x\n\ndata:  c\n\n"

    assert parse(stream) == [Message("7", "decision", "a\nb"), Message("7", "message", " c")]


def test_what_is_incomplete_at_the_end_is_dropped() -> None:
    assert parse(b"id: 1\ndata: whole\n\nid: 2\ndata: half\n") == [Message("1", "message", "whole")]


@given(
    texts=st.lists(
        st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=1), max_size=5
    ),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
    cuts=st.lists(st.integers(0, 400), max_size=20),
)
def test_messages_don_t_depend_on_where_chunks_are_cut(texts: list[str], newline: str, cuts: list[int]) -> None:
    stream = "".join(f"id: {n}{newline}data: {text}{newline}{newline}" for n, text in enumerate(texts)).encode()
    places = [0, *sorted(cut for cut in cuts if cut < len(stream)), len(stream)]

    messages = parse(*(stream[a:b] for a, b in itertools.pairwise(places)))

    assert [message.data for message in messages] == texts


class EventServer:
    """Serves events 1 … n as the service does, but breaks connections where it is told to."""

    def __init__(self, num_events: int, newline: str = "\n") -> None:
        self.num_events = num_events
        self.newline = newline
        self.faults: list[tuple[int, bool]] = []
        """Per connection: after how many bytes it ends, and whether it breaks rather than ends."""
        self.chunk_bytes = 7
        self.seen: list[str | None] = []
        self.bodies: list[Chunks] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        asked = request.headers.get("last-event-id")
        self.seen.append(asked)
        after = int(asked or 0)
        if after >= self.num_events:
            return httpx.Response(204)
        body = "".join(self._event(id) for id in range(after + 1, self.num_events + 1)).encode()
        end, broken = self.faults.pop(0) if self.faults else (len(body), False)
        body = body[:end]
        chunks = [body[i : i + self.chunk_bytes] for i in range(0, len(body), self.chunk_bytes)]
        self.bodies.append(Chunks(chunks, httpx.ReadError("connection reset") if broken else None))
        return httpx.Response(200, headers=SSE, stream=self.bodies[-1])

    def _event(self, id: int) -> str:
        data = event(id, text="é\u2028").model_dump_json()
        lines = [": ping", f"id: {id}", "event: trial.state", f"data: {data}", ""]
        return "".join(line + self.newline for line in lines)


@given(
    num_events=st.integers(1, 6),
    newline=st.sampled_from(["\n", "\r\n"]),
    faults=st.lists(st.tuples(st.integers(0, 900), st.booleans()), max_size=9),
    chunk_bytes=st.integers(1, 300),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_each_event_comes_once_however_the_stream_is_cut(
    connect: Connect,
    naps: list[float],
    num_events: int,
    newline: str,
    faults: list[tuple[int, bool]],
    chunk_bytes: int,
) -> None:
    server = EventServer(num_events, newline)
    server.faults, server.chunk_bytes = faults, chunk_bytes

    events = list(connect(server).events())

    assert [found.id for found in events] == list(range(1, num_events + 1))
    assert all(found.data["text"] == "é\u2028" for found in events)


def test_events_after_one_that_is_known(connect: Connect) -> None:
    server = EventServer(5)

    assert [found.id for found in connect(server).events(after=3)] == [4, 5]
    assert server.seen == ["3", "5"]


def test_a_server_that_repeats_itself_is_filtered(connect: Connect, naps: list[float]) -> None:
    stream = "".join(f"id: {n}\ndata: {event(n).model_dump_json()}\n\n" for n in (1, 2))
    answers = [httpx.Response(200, headers=SSE, text=stream) for _ in range(2)] + [httpx.Response(204)]

    assert [found.id for found in connect(lambda _: answers.pop(0)).events()] == [1, 2]


def test_a_stream_that_is_left_closes_its_connection(connect: Connect) -> None:
    server = EventServer(3)
    events = connect(server).events()

    next(events)
    events.close()

    assert server.bodies[0].closed


def test_silence_for_longer_than_three_pings_breaks_the_connection(connect: Connect, naps: list[float]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.extensions["timeout"]["read"] == 45.0
        silent = Chunks([b": ping\n\n"], httpx.ReadTimeout("silence"))
        return httpx.Response(204) if naps else httpx.Response(200, headers=SSE, stream=silent)

    assert list(connect(handler).events()) == []
    assert len(naps) == 1


def test_a_quiet_stream_whose_connections_are_capped_goes_on_for_ever(connect: Connect, naps: list[float]) -> None:
    left = [httpx.Response(200, headers=SSE, text=": ping\n\n") for _ in range(40)] + [httpx.Response(204)]

    assert list(connect(lambda _: left.pop(0)).events()) == []
    assert len(naps) == 40


@pytest.mark.parametrize("fault", ["refused", "ends at once", "busy"])
def test_a_service_that_stays_away_is_given_up(connect: Connect, naps: list[float], fault: str) -> None:
    first = [httpx.Response(200, headers=SSE, text=f"id: 1\ndata: {event(1).model_dump_json()}\n\n")]

    def handler(request: httpx.Request) -> httpx.Response:
        if first:
            return first.pop()
        if fault == "refused":
            raise httpx.ConnectError("refused")
        return problem(503, "unavailable") if fault == "busy" else httpx.Response(200, headers=SSE)

    events = connect(handler).events()

    assert next(events).id == 1
    with pytest.raises(Unavailable):
        next(events)
    assert 30 < sum(naps) < 120  # a restart of the service takes less


def test_an_unknown_sweep_is_not_tried_again(connect: Connect, naps: list[float]) -> None:
    with pytest.raises(NotFound):
        next(connect(lambda _: problem(404, "not_found")).events())
    assert naps == []


def test_an_event_of_another_version_is_named(connect: Connect) -> None:
    stream: dict[str, Any] = {"headers": SSE, "text": 'id: 1\ndata: {"id": 1}\n\n'}

    with pytest.raises(InternalError, match="sweep_id"):
        next(connect(lambda _: httpx.Response(200, **stream)).events())
