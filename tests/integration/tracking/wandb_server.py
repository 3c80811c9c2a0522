"""A stand-in for W&B's server: as much of its HTTP API as wandb asks of it for runs and their history.

Runs are made and resumed (GraphQL), history and summary come as lines at an offset (`file_stream`), files are uploaded.
It keeps what it was told, and answers as W&B's server does where wandb reads the answer. What W&B's server does with
these rows (its checks, limits, charts, access control), and artifacts, are not in it.
"""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Told:
    """What the server has of a run."""

    variables: dict[str, Any] = field(default_factory=dict)
    """Of all upserts, the last of each that was no null."""
    history: list[str] = field(default_factory=list)
    overwritten: int = 0
    """Lines of the history that came again."""
    summary: dict[str, Any] = field(default_factory=dict)
    exit_codes: list[int] = field(default_factory=list)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.history]

    @property
    def config(self) -> dict[str, Any]:
        read = json.loads(self.variables["config"])
        return {name: entry["value"] for name, entry in read.items() if name != "_wandb"}


class Wandb:
    """The server's state."""

    def __init__(self) -> None:
        self.url = ""
        self.runs: dict[str, Told] = {}
        self.stored: dict[str, bytes] = {}
        self.keys: set[str | None] = set()
        self.lock = threading.Lock()

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        answers = {
            "Viewer": lambda _: {"viewer": _VIEWER},
            "RunResumeStatus": self._resume_status,
            "UpsertBucket": self._upsert,
            "CreateRunFiles": self._run_files,
        }
        return answers[operation](variables) if operation in answers else {}

    def stream(self, run_id: str, body: dict[str, Any]) -> None:
        run = self.runs[run_id]
        files = body.get("files") or {}
        if history := files.get("wandb-history.jsonl"):
            offset, lines = history["offset"], history["content"]
            run.overwritten += len(run.history[offset : offset + len(lines)])
            run.history[offset : offset + len(lines)] = lines
        if summary := files.get("wandb-summary.json"):
            run.summary = json.loads(summary["content"][-1])
        if body.get("complete"):
            run.exit_codes.append(body["exitcode"])

    def _resume_status(self, asked: dict[str, Any]) -> dict[str, Any]:
        run = self.runs.get(asked["name"])
        return {"model": {**self._project(), "bucket": run and self._bucket(asked["name"], run)}}

    def _upsert(self, told: dict[str, Any]) -> dict[str, Any]:
        run_id = told.get("name") or told["id"]
        new = run_id not in self.runs
        run = self.runs.setdefault(run_id, Told())
        run.variables |= {name: value for name, value in told.items() if value is not None}
        return {"upsertBucket": {"bucket": {**self._bucket(run_id, run), "project": self._project()}, "inserted": new}}

    def _bucket(self, run_id: str, run: Told) -> dict[str, Any]:
        return {
            "id": run_id,
            "name": run_id,
            "summaryMetrics": json.dumps(run.summary),
            "displayName": run.variables.get("displayName"),
            "description": None,
            "logLineCount": 0,
            "historyLineCount": len(run.history),
            "eventsLineCount": 0,
            "historyTail": json.dumps(run.history[-1:]),
            "eventsTail": "[]",
            "config": run.variables.get("config", "{}"),
            "tags": run.variables.get("tags", []),
            "notes": run.variables.get("notes"),
            "sweepName": None,
            "wandbConfig": json.dumps({"t": 1}),
        }

    def _run_files(self, told: dict[str, Any]) -> dict[str, Any]:
        files = [{"name": name, "uploadUrl": self._place(f"{told['run']}/{name}")} for name in told["files"]]
        return {"createRunFiles": {"runID": told["run"], "uploadHeaders": [], "files": files}}

    def _project(self) -> dict[str, Any]:
        return {"id": "project", "name": "demo", "entity": {"id": "entity", "name": "team"}}

    def _place(self, name: str) -> str:
        return f"{self.url}/storage/{name}"


_VIEWER = {"id": "user", "username": "user", "entity": "team", "email": "", "flags": "{}", "teams": {"edges": []}}


@contextmanager
def serving() -> Iterator[Wandb]:
    """Runs one on a free port."""
    state = Wandb()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            with state.lock:
                self._reply(self._post(self._body()))

        def do_PUT(self) -> None:
            with state.lock:
                state.stored[self.path.removeprefix("/storage/")] = self._body()
                self._reply({})

        def do_GET(self) -> None:
            self._reply({})

        def log_message(self, *_: Any) -> None:
            pass

        def _post(self, body: bytes) -> dict[str, Any]:
            if self.path == "/graphql":
                state.keys.add(self.headers.get("authorization"))
                asked = json.loads(body)
                return {"data": state.answer(asked.get("operationName") or "", asked.get("variables") or {})}
            if self.path.endswith("/file_stream"):
                state.stream(self.path.split("/")[-2], json.loads(body))
            return {}

        def _body(self) -> bytes:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            return gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body

        def _reply(self, answer: dict[str, Any]) -> None:
            data = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
