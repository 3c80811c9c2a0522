"""Streams that outlive their connections: events and followed logs."""

from __future__ import annotations

import codecs

import httpx

from toprung.client.answers import parse_record
from toprung.client.effects import Emit, Flow, Head, Request, read
from toprung.client.exchange import LONG_WAIT, Busy, Exchange
from toprung.client.sse import SseParser
from toprung.tuning.records import Event

HEARTBEAT_TIMEOUT_S = 45.0
"""The service pings every 15 s: three missed pings mean that the connection is dead."""


def events(exchange: Exchange, path: str, after: int | None) -> Flow[Event]:
    """Each event after `after` once, in order, over as many connections as it takes.

    Raises:
        Unavailable: the service was away for too long.
    """
    last, failures = after, 0
    while True:
        headers = {"Accept": "text/event-stream"}
        if last is not None:
            headers["Last-Event-ID"] = str(last)
        request = Request("GET", path, headers=headers, read_timeout_s=HEARTBEAT_TIMEOUT_S)
        error: httpx.TransportError | Busy = httpx.RemoteProtocolError("it ended at once")
        alive = news = False
        try:
            if (yield from exchange.stream(request, "text/event-stream")) is None:
                return
            parser = SseParser()
            while (chunk := (yield from read())) is not None:
                alive = True
                for message in parser.feed(chunk):
                    event = parse_record(message.data, Event, exchange.url)
                    if last is None or event.id > last:
                        last, news = event.id, True
                        yield Emit(event)
        except (httpx.TransportError, Busy) as broken:
            error = broken
        if news:  # come back at once: either more is waiting, or the answer is that the sweep has ended
            failures = 0
            continue
        failures = 1 if alive else failures + 1
        yield from exchange.pause(failures, LONG_WAIT, error)


def log_text(exchange: Exchange, path: str, attempt: int | None, follow: bool) -> Flow[str]:
    """An attempt's log in chunks; after a broken connection it goes on at the byte where it stopped.

    Raises:
        Unavailable: the service was away for too long.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    offset, failures = 0, 0
    while True:
        params: dict[str, str | int] = {"offset": offset, "follow": "true" if follow else "false"}
        if attempt is not None:
            params["attempt"] = attempt
        request = Request("GET", path, params=params, read_timeout_s=HEARTBEAT_TIMEOUT_S if follow else None)
        opened = False
        try:
            head = yield from exchange.stream(request, "text/plain")
            if head is None:
                return
            opened = True
            attempt = _attempt(head) or attempt  # a newer one may start before we come back
            while (chunk := (yield from read())) is not None:
                offset, failures = offset + len(chunk), 0
                if text := decoder.decode(chunk):
                    yield Emit(text)
            if text := decoder.decode(b"", final=True):
                yield Emit(text)
            return
        except (httpx.TransportError, Busy) as broken:
            if follow and opened and isinstance(broken, httpx.ReadTimeout):
                continue  # a log has no heartbeat: look whether the connection or the trial is silent
            failures += 1
            yield from exchange.pause(failures, LONG_WAIT, broken)


def _attempt(head: Head) -> int | None:
    text = head.headers.get("x-attempt", "")
    return int(text) if text.isdecimal() else None
