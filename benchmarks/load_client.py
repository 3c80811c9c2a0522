"""A light load for service_load.py: watchers of a sweep's events and a steady stream of reads, in one event loop.

Plain sockets, and no more of HTTP/1.1 and of server-sent events than this needs: it shares the processors with the
service, and what is measured is to be the service. Ids of events are counted, their data is not parsed.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import urlsplit

ANSWER_S = 30.0
STAY_S = 10.0
"""A restless watcher leaves after so long, on average, and comes back at once."""

_ID = re.compile(rb"^id: (\d+)$", re.MULTILINE)
_MIX = ("sweep",) * 6 + ("sweeps",) * 4 + ("trials", "trials by value", "best", "decisions", "results") * 2
"""What is read. Of the sweep and of the list, which have an ETag, every other read is with If-None-Match."""


class Answer(NamedTuple):
    status: int
    fields: dict[bytes, bytes]


class Connection:
    """One HTTP/1.1 connection, for one request after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        self._reader, self._writer, self._host = reader, writer, host

    @classmethod
    async def to(cls, url: str) -> Connection:
        parts = urlsplit(url)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
        return cls(reader, writer, parts.netloc)

    def close(self) -> None:
        self._writer.transport.abort()

    async def get(self, path: str, **headers: str) -> Answer:
        lines = [f"GET {path} HTTP/1.1", f"Host: {self._host}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        self._writer.write("\r\n".join([*lines, "", ""]).encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        first, *rest = head.splitlines()[:-1]
        fields = (line.partition(b":") for line in rest)
        return Answer(int(first.split()[1]), {name.strip().lower(): value.strip() for name, _, value in fields})

    async def body(self, answer: Answer) -> AsyncIterator[bytes]:
        """The body in the pieces in which it was sent."""
        if answer.status in (204, 304):
            return
        if b"content-length" in answer.fields:
            yield await self._reader.readexactly(int(answer.fields[b"content-length"]))
            return
        while size := int(await self._reader.readuntil(b"\r\n"), 16):
            yield (await self._reader.readexactly(size + 2))[:-2]
        await self._reader.readexactly(2)


@dataclass
class Seen:
    """What the load has met."""

    watched: list[list[int]] = field(default_factory=list)
    """Ids of events by watcher, in the order in which they came."""
    read_s: list[float] = field(default_factory=list)
    """From the moment when a read was due to the last byte of its answer."""
    statuses: dict[int, int] = field(default_factory=dict)
    returns: int = 0
    """Streams that a restless watcher took up again."""
    errors: list[str] = field(default_factory=list)
    cpu_s: float = 0.0
    wall_s: float = 0.0


class Load:
    """Watchers of one sweep, until it has ended, and reads beside them."""

    def __init__(self, url: str, sweep_id: str, *, restless_frac: float = 0.25, seed: int = 0) -> None:
        self.seen = Seen()
        self._url = url
        self._sweep = f"/v1/sweeps/{sweep_id}"
        self._restless_frac = restless_frac
        self._random = random.Random(seed)
        self._free: list[Connection] = []
        self._etags: dict[str, str] = {}
        self._num_trials = 0

    async def run(self, *, watchers: int, reads_per_s: float, tick: Callable[[], None] = lambda: None) -> Seen:
        """Until all watchers have been told that the sweep has ended. `tick` is called once a second."""
        cpu, wall = time.process_time(), time.monotonic()
        num_restless = round(watchers * self._restless_frac)
        beside = [asyncio.create_task(self._read(reads_per_s))] if reads_per_s else []
        beside.append(asyncio.create_task(_every_second(tick)))
        await asyncio.gather(*(self._watch(restless=index < num_restless) for index in range(watchers)))
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
        for connection in self._free:
            connection.close()
        self.seen.cpu_s, self.seen.wall_s = time.process_time() - cpu, time.monotonic() - wall
        return self.seen

    async def _watch(self, *, restless: bool) -> None:
        ids: list[int] = []
        self.seen.watched.append(ids)
        ended = False
        while True:
            stays_s = self._random.expovariate(1 / STAY_S) if restless else None
            try:
                async with asyncio.timeout(stays_s):
                    if await self._stream(ids, expect_end=ended):
                        return
                ended = True
            except TimeoutError:
                self.seen.returns += 1
            except (OSError, EOFError, Failed) as error:
                self.seen.errors.append(f"watching: {error!r}")
                await asyncio.sleep(1)

    async def _stream(self, ids: list[int], *, expect_end: bool) -> bool:
        """Adds the ids of one connection. Returns whether the service says that there is no more to come."""
        connection = await Connection.to(self._url)
        try:
            headers = {"Last_Event_ID": str(ids[-1])} if ids else {}
            answer = await connection.get(f"{self._sweep}/events", Accept="text/event-stream", **headers)
            if answer.status == 204:
                return True
            if answer.status != 200 or expect_end:
                raise Failed(f"{answer.status} {'after the end of a stream' if expect_end else ''}")
            rest = b""
            async for piece in connection.body(answer):
                whole, mark, rest = (rest + piece).rpartition(b"\n\n")
                if mark:
                    ids += map(int, _ID.findall(whole))
            return False
        finally:
            connection.close()

    async def _read(self, per_s: float) -> None:
        """Reads at their times, whether or not earlier ones were answered: a slow service is not asked less."""
        started, number, tasks = time.monotonic(), 0, set()
        try:
            while True:
                for what in self._random.sample(_MIX, len(_MIX)):
                    due = started + number / per_s
                    await asyncio.sleep(max(0.0, due - time.monotonic()))
                    task = asyncio.create_task(self._read_one(what, due, conditional=number % 2 == 0))
                    tasks.add(task)
                    task.add_done_callback(tasks.discard)
                    number += 1
        finally:
            await asyncio.gather(*tasks)

    async def _read_one(self, what: str, due: float, *, conditional: bool) -> None:
        path = self._path(what)
        headers = {"If_None_Match": self._etags[path]} if conditional and path in self._etags else {}
        connection = None
        try:
            async with asyncio.timeout(ANSWER_S):
                connection = self._free.pop() if self._free else await Connection.to(self._url)
                answer = await connection.get(path, **headers)
                body = b"".join([piece async for piece in connection.body(answer)])
        except (OSError, EOFError) as error:  # a TimeoutError is an OSError
            self.seen.errors.append(f"{path}: {error!r}")
            if connection is not None:
                connection.close()
            return
        self._free.append(connection)
        self.seen.read_s.append(time.monotonic() - due)
        self.seen.statuses[answer.status] = self.seen.statuses.get(answer.status, 0) + 1
        if answer.status not in (200, 304):
            self.seen.errors.append(f"{path}: {answer.status} {body[:200]!r}")
        if b"etag" in answer.fields:
            self._etags[path] = answer.fields[b"etag"].decode()
        if what.startswith("trials"):
            self._num_trials = max(self._num_trials, body.count(b'"sweep_id":'))  # of a page, at most 100

    def _path(self, what: str) -> str:
        match what:
            case "sweep":
                return self._sweep
            case "sweeps":
                return "/v1/sweeps?limit=20"
            case "trials by value":
                return f"{self._sweep}/trials?order_by=value"
            case "best" | "decisions":
                return f"{self._sweep}/{what}"
            case "results" if self._num_trials:
                return f"{self._sweep}/trials/{self._random.randrange(self._num_trials)}/results"
        return f"{self._sweep}/trials"


class Failed(Exception):
    """An answer that should not have come."""


async def _every_second(tick: Callable[[], None]) -> None:
    while True:
        tick()
        await asyncio.sleep(1)
