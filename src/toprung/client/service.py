"""What the service can do, each call as an operation that either driver runs."""

from __future__ import annotations

import json
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from pydantic import BaseModel, TypeAdapter

from toprung.access import NewToken, Token
from toprung.client.checkpoint import download
from toprung.client.effects import Emit, Flow, Op, Request, call, sleep
from toprung.client.exchange import CALL, LONG_WAIT, Exchange, Patience
from toprung.client.packing import CodeFile, Package, code_files, pack
from toprung.client.revision import git_of
from toprung.client.streams import events, log_text
from toprung.client.submission import Source, prepare, with_code
from toprung.cluster.records import CheckUp, ClusterStatus
from toprung.errors import Conflict, NotFound, PreconditionFailed
from toprung.tuning.garbage import CleanUp, Files
from toprung.tuning.records import (
    BestTrial,
    Decision,
    Event,
    Forecast,
    Page,
    Result,
    SetAside,
    Sweep,
    SweepState,
    Trial,
    TrialEnvironment,
    TrialState,
    UsageReport,
)
from toprung.tuning.reproduction import Ran, Reproduction, compare
from toprung.tuning.spec import SweepSpec

T = TypeVar("T", bound=BaseModel)
Params = dict[str, str | int | None]

_BEST: TypeAdapter[dict[str, list[BestTrial]]] = TypeAdapter(dict[str, list[BestTrial]])
_TOKENS: TypeAdapter[dict[str, list[Token]]] = TypeAdapter(dict[str, list[Token]])
_SET_ASIDE: TypeAdapter[dict[str, list[SetAside]]] = TypeAdapter(dict[str, list[SetAside]])
_RESULTS: TypeAdapter[dict[str, list[Result]]] = TypeAdapter(dict[str, list[Result]])
_FILES: TypeAdapter[dict[str, list[Files]]] = TypeAdapter(dict[str, list[Files]])
_OBJECT: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])
_STRINGS: TypeAdapter[dict[str, str]] = TypeAdapter(dict[str, str])
_FIRST_POLL_S, _SLOWEST_POLL_S = 0.1, 1.0
_GC_TIMEOUT_S = 3600.0
"""Nothing is said before everything is removed."""
_DOCTOR_TIMEOUT_S = 900.0
"""Each node that does not answer is waited for a minute, 32 at a time."""

_FIGURE_TIMEOUT_S = 120.0
"""Importance grows a forest of trees."""
_ROWS_AT_ONCE = 10_000


def no_best(sweep: Sweep) -> NotFound:
    """The error where no trial can be called the best."""
    failed = sweep.trials.get(TrialState.FAILED, 0)
    but = f"; the {failed:,} that failed don't count" if failed else ""
    return NotFound(f"No trial of {sweep.name} has a value of {sweep.spec.metric.name} yet{but}.")


class Service:
    """The operations of one service; see `docs/architecture.md`, HTTP."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._exchange = Exchange(url)

    # sweeps

    def submit(
        self, source: Source, code: str | Path | None, name: str | None, idempotency_key: str | None
    ) -> Op[Sweep]:
        submission = yield from call(partial(prepare, source, code, name))
        spec = submission.spec
        if submission.files is not None:
            git = yield from call(partial(git_of, submission.folder, submission.files))
            sha256 = yield from self._upload(submission.files)
            spec = spec.model_copy(update={"code": f"sha256:{sha256}", "git": git})
        key = idempotency_key or uuid.uuid4().hex
        reply = yield from self._exchange.call(_post_spec("/v1/sweeps", spec, {"Idempotency-Key": key}))
        return reply.parse(Sweep)

    def validate(self, source: Source) -> Op[Forecast]:
        submission = yield from call(partial(prepare, source))
        sent = submission.spec if submission.files is None else with_code(submission.spec, None)
        reply = yield from self._exchange.call(_post_spec("/v1/sweeps:validate", sent))
        forecast = reply.parse(Forecast)
        return forecast.model_copy(update={"spec": with_code(forecast.spec, submission.spec.code)})

    def sweep(self, id_or_name: str, patience: Patience = CALL) -> Op[Sweep]:
        reply = yield from self._exchange.call(Request("GET", _sweep_path(id_or_name)), patience)
        return reply.parse(Sweep)

    def sweeps(self, state: str | None, name: str | None, owner: str | None, limit: int | None) -> Flow[Sweep]:
        return self._pages("/v1/sweeps", {"state": state, "name": name, "owner": owner}, limit, Page[Sweep])

    def cancel(self, sweep_id: str) -> Op[Sweep]:
        return self._ask(sweep_id, "cancel", SweepState.CANCELLED)

    def pause(self, sweep_id: str) -> Op[Sweep]:
        return self._ask(sweep_id, "pause", SweepState.PAUSED)

    def resume(self, sweep_id: str) -> Op[Sweep]:
        return self._ask(sweep_id, "resume", SweepState.QUEUED, SweepState.RUNNING)

    def delete(self, sweep_id: str) -> Op[None]:
        reply = yield from self._exchange.call(Request("DELETE", _sweep_path(sweep_id)))
        if reply.head.status == 204 or (reply.head.status == 404 and reply.tries > 1):  # by a try whose answer was lost
            return
        raise reply.error()

    def files(self, sweep_id: str) -> Op[list[Files]]:
        reply = yield from self._exchange.call(Request("GET", f"{_sweep_path(sweep_id)}/files"))
        return reply.parse(_FILES)["items"]

    def _ask(self, sweep_id: str, action: str, *wanted: SweepState) -> Op[Sweep]:
        reply = yield from self._exchange.call(Request("POST", f"{_sweep_path(sweep_id)}:{action}"))
        try:
            return reply.parse(Sweep)
        except Conflict as error:
            if reply.tries > 1 and error.state in wanted:  # by the first try, whose answer was lost
                return (yield from self.sweep(sweep_id))
            raise

    # changing what is there

    def edit(self, sweep_id: str, patch: dict[str, Any]) -> Op[Sweep]:
        """Read, change, and read again where somebody else has changed it in between."""
        while True:
            seen = yield from self._exchange.call(Request("GET", _sweep_path(sweep_id)))
            seen.parse(Sweep)
            headers = {"If-Match": seen.head.headers["etag"]}
            reply = yield from self._exchange.call(_send("PATCH", _sweep_path(sweep_id), patch, headers))
            try:
                return reply.parse(Sweep)
            except PreconditionFailed:
                continue

    def extend(self, sweep_id: str, budget: dict[str, Any]) -> Op[Sweep]:
        reply = yield from self._exchange.call(_send("POST", f"{_sweep_path(sweep_id)}:extend", {"budget": budget}))
        return reply.parse(Sweep)

    def enqueue(self, sweep_id: str, config: dict[str, Any]) -> Op[Sweep]:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        request = _send("POST", f"{_sweep_path(sweep_id)}:enqueue", {"config": config}, headers)
        return (yield from self._exchange.call(request)).parse(Sweep)

    def retry(self, sweep_id: str, numbers: Sequence[int], code: str | Path | None) -> Op[Sweep]:
        wanted: dict[str, Any] = {"trials": list(numbers)}
        if code is not None:
            files = yield from call(partial(code_files, Path(code)))
            sha256 = yield from self._upload(files)
            wanted["code"] = f"sha256:{sha256}"
            git = yield from call(partial(git_of, Path(code), files))
            wanted["git"] = git and git.model_dump(mode="json")
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        reply = yield from self._exchange.call(_send("POST", f"{_sweep_path(sweep_id)}:retry", wanted, headers))
        return reply.parse(Sweep)

    def clone(self, sweep_id: str, patch: dict[str, Any]) -> Op[Sweep]:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        reply = yield from self._exchange.call(_send("POST", f"{_sweep_path(sweep_id)}:clone", patch, headers))
        return reply.parse(Sweep)

    def stop_trial(self, sweep_id: str, number: int) -> Op[Trial]:
        reply = yield from self._exchange.call(Request("POST", f"{_trial_path(sweep_id, number)}:stop"))
        try:
            return reply.parse(Trial)
        except Conflict as error:
            if reply.tries > 1 and error.state == TrialState.CANCELLED:  # by the first try, whose answer was lost
                return (yield from self.trial(sweep_id, number))
            raise

    def until_finished(
        self, sweep_id: str, timeout_s: float | None, clock: Callable[[], float] = time.monotonic
    ) -> Flow[Sweep]:
        """Emits the sweep each time it is looked at, the finished one last.

        Raises:
            TimeoutError: it isn't finished after `timeout_s`.
        """
        start, poll_s = clock(), _FIRST_POLL_S
        while True:
            sweep = yield from self.sweep(sweep_id, LONG_WAIT)
            yield Emit(sweep)
            if sweep.state.finished:
                return
            left_s = float("inf") if timeout_s is None else start + timeout_s - clock()
            if left_s <= 0:
                raise TimeoutError(f"{sweep.name} is still {sweep.state} after {timeout_s:g} s. It goes on.")
            yield from sleep(min(poll_s, left_s))
            poll_s = min(_SLOWEST_POLL_S, poll_s * 1.5)

    def best(self, sweep_id: str, k: int) -> Op[list[BestTrial]]:
        reply = yield from self._exchange.call(Request("GET", f"{_sweep_path(sweep_id)}/best", {"k": k}))
        return reply.parse(_BEST)["items"]

    def best_one(self, sweep: Sweep) -> Op[Trial]:
        found = yield from self.best(sweep.id, 1)
        if not found:
            raise no_best(sweep)
        return found[0].trial

    def figure(self, sweep_id: str, name: str, params: Params) -> Op[dict[str, Any]]:
        """A figure in plotly's schema."""
        given = {key: value for key, value in params.items() if value is not None}
        request = Request(
            "GET", f"{_sweep_path(sweep_id)}/figures/{quote(name)}", given, read_timeout_s=_FIGURE_TIMEOUT_S
        )
        return (yield from self._exchange.call(request)).parse(_OBJECT)

    def table(self, sweep_id: str, filter: str) -> Op[tuple[list[dict[str, str]], list[list[Any]]]]:
        """Columns and rows of all trials that a filter leaves, by number."""
        rows: list[list[Any]] = []
        while True:
            params: dict[str, str | int] = {"filter": filter, "offset": len(rows), "limit": _ROWS_AT_ONCE}
            reply = yield from self._exchange.call(Request("GET", f"{_sweep_path(sweep_id)}/table", params))
            page = reply.parse(_OBJECT)
            rows += page["rows"]
            if len(rows) >= page["total"] or not page["rows"]:
                return page["columns"], rows

    def decisions(self, sweep_id: str, number: int | None) -> Flow[Decision]:
        return self._pages(f"{_sweep_path(sweep_id)}/decisions", {"number": number}, None, Page[Decision])

    def events(self, sweep_id: str | None, after: int | None) -> Flow[Event]:
        path = "/v1/events" if sweep_id is None else f"{_sweep_path(sweep_id)}/events"
        return events(self._exchange, path, after)

    # trials

    def trials(self, sweep_id: str, state: str | None, order_by: str, limit: int | None) -> Flow[Trial]:
        params: Params = {"state": state, "order_by": order_by}
        return self._pages(f"{_sweep_path(sweep_id)}/trials", params, limit, Page[Trial])

    def trial(self, sweep_id: str, number: int) -> Op[Trial]:
        reply = yield from self._exchange.call(Request("GET", _trial_path(sweep_id, number)))
        return reply.parse(Trial)

    def results(self, sweep_id: str, number: int) -> Op[list[Result]]:
        """All of them: page after page, until one is empty."""
        found: list[Result] = []
        while True:
            params = {"after_step": found[-1].step if found else 0}
            reply = yield from self._exchange.call(Request("GET", f"{_trial_path(sweep_id, number)}/results", params))
            items = reply.parse(_RESULTS)["items"]
            if not items:
                return found
            found += items

    def logs(self, sweep_id: str, number: int, attempt: int | None, follow: bool) -> Flow[str]:
        return log_text(self._exchange, f"{_trial_path(sweep_id, number)}/logs", attempt, follow)

    def checkpoint(self, sweep_id: str, number: int, target: str | Path) -> Op[Path]:
        return download(self._exchange, f"{_trial_path(sweep_id, number)}/checkpoint", Path(target))

    def environment(self, sweep_id: str, number: int) -> Op[TrialEnvironment]:
        reply = yield from self._exchange.call(Request("GET", f"{_trial_path(sweep_id, number)}/environment"))
        return reply.parse(TrialEnvironment)

    def reproduce(self, sweep_id: str, number: int) -> Op[Sweep]:
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        request = Request("POST", f"{_trial_path(sweep_id, number)}:reproduce", headers=headers)
        return (yield from self._exchange.call(request)).parse(Sweep)

    def compared(self, trial: Trial, again: Sweep, tolerance: float) -> Op[Reproduction]:
        """What the sweep `again`, which has run a trial again, says about it."""
        first = yield from self._ran(trial)
        try:
            second = yield from self._ran((yield from self.trial(again.id, 0)))
        except NotFound:  # the sweep ended before its trial began
            second = None
        return compare(first, second, again.spec.metric.name, again, tolerance)

    def _ran(self, trial: Trial) -> Op[Ran]:
        results = yield from self.results(trial.sweep_id, trial.number)
        return Ran(trial, results, (yield from self.environment(trial.sweep_id, trial.number)))

    # tokens

    def create_token(self, owner: str, scope: str) -> Op[NewToken]:
        # sent again after a lost answer it makes a second one; nobody has seen the first
        body = json.dumps({"owner": owner, "scope": scope}).encode()
        request = Request("POST", "/v1/tokens", headers={"Content-Type": "application/json"}, body=body)
        return (yield from self._exchange.call(request)).parse(NewToken)

    def tokens(self) -> Op[list[Token]]:
        return (yield from self._exchange.call(Request("GET", "/v1/tokens"))).parse(_TOKENS)["items"]

    def revoke_token(self, token_id: str) -> Op[Token]:
        token_id = "_".join(token_id.split("_")[:2])  # of a whole token its id alone: paths are logged
        reply = yield from self._exchange.call(Request("DELETE", f"/v1/tokens/{quote(token_id, safe='')}"))
        return reply.parse(Token)

    # the cluster

    def cluster(self) -> Op[ClusterStatus]:
        return (yield from self._exchange.call(Request("GET", "/v1/cluster"))).parse(ClusterStatus)

    def doctor(self) -> Op[CheckUp]:
        request = Request("POST", "/v1/cluster:doctor", read_timeout_s=_DOCTOR_TIMEOUT_S)
        return (yield from self._exchange.call(request)).parse(CheckUp)

    def set_aside(self) -> Op[list[SetAside]]:
        reply = yield from self._exchange.call(Request("GET", "/v1/cluster/set-aside"))
        return reply.parse(_SET_ASIDE)["items"]

    def take_back(self, node: str) -> Op[list[SetAside]]:
        reply = yield from self._exchange.call(Request("DELETE", f"/v1/cluster/set-aside/{quote(node, safe='')}"))
        return reply.parse(_SET_ASIDE)["items"]

    # the service

    def schema(self) -> Op[dict[str, Any]]:
        reply = yield from self._exchange.call(Request("GET", "/v1/schema"))
        return reply.parse(_OBJECT)

    def usage(self, since: datetime | None, until: datetime | None) -> Op[UsageReport]:
        period = {"since": since, "until": until}
        params = {name: at.astimezone(UTC).isoformat() for name, at in period.items() if at is not None}
        reply = yield from self._exchange.call(Request("GET", "/v1/usage", params))
        return reply.parse(UsageReport)

    def version(self) -> Op[dict[str, str]]:
        reply = yield from self._exchange.call(Request("GET", "/v1/version"))
        return reply.parse(_STRINGS)

    def gc(self, dry_run: bool, older_than_s: float | None) -> Op[CleanUp]:
        params: dict[str, str | int] = {"dry_run": "true" if dry_run else "false"}
        if older_than_s is not None:
            params["older_than_s"] = repr(older_than_s)
        reply = yield from self._exchange.call(Request("POST", "/v1/gc", params, read_timeout_s=_GC_TIMEOUT_S))
        return reply.parse(CleanUp)

    def _upload(self, files: list[CodeFile]) -> Op[str]:
        """Pack `files`; send them if the service hasn't got them. Returns the package's SHA-256."""
        with tempfile.TemporaryDirectory(prefix="toprung-") as folder:
            package = yield from call(partial(pack, files, Path(folder) / "code.zip"))
            if not (yield from self._has(package)):
                headers = {"Content-Type": "application/zip", "Content-Length": str(package.size_bytes)}
                request = Request("PUT", f"/v1/packages/{package.sha256}", headers=headers, body=package.path)
                (yield from self._exchange.call(request)).parse(_OBJECT)
        return package.sha256

    def _has(self, package: Package) -> Op[bool]:
        reply = yield from self._exchange.call(Request("GET", f"/v1/packages/{package.sha256}"))
        if reply.head.status == 200:
            return True
        error = reply.error()
        if isinstance(error, NotFound):
            return False
        raise error

    def _pages(self, path: str, params: Params, limit: int | None, kind: type[Page[T]]) -> Flow[T]:
        """The items of a listing, a page at a time, at most `limit` of them."""
        cursor: str | None = None
        left = limit
        while left is None or left > 0:
            asked = params | {"cursor": cursor} | ({} if left is None else {"limit": min(left, 100)})
            given = {key: value for key, value in asked.items() if value is not None}
            page = (yield from self._exchange.call(Request("GET", path, given))).parse(kind)
            for item in page.items[:left]:
                yield Emit(item)
            cursor = page.next_cursor
            if cursor is None:
                return
            left = None if left is None else left - len(page.items)


def _send(method: str, path: str, data: dict[str, Any], headers: dict[str, str] | None = None) -> Request:
    body = json.dumps(data, allow_nan=False).encode()
    return Request(method, path, headers={"Content-Type": "application/json", **(headers or {})}, body=body)


def _post_spec(path: str, spec: SweepSpec, headers: dict[str, str] | None = None) -> Request:
    return _send("POST", path, spec.model_dump(mode="json"), headers)


def _sweep_path(id_or_name: str) -> str:
    return f"/v1/sweeps/{quote(id_or_name, safe='')}"


def _trial_path(sweep_id: str, number: int) -> str:
    return f"{_sweep_path(sweep_id)}/trials/{number}"
