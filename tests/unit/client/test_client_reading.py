"""Waiting, listings, results, logs and checkpoints, from a scripted service."""

from __future__ import annotations

import io
import itertools
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.client.client_help import Chunks, Connect, answer, problem, sweep, trial

from toprung.client import Client
from toprung.errors import InvalidInput, NotFound, ToprungError, Unavailable
from toprung.tuning.records import Result, SweepState, TrialState

Handler = Callable[[httpx.Request], httpx.Response]
TEXT = {"content-type": "text/plain; charset=utf-8", "x-attempt": "2"}


def behind(handler: Handler) -> Handler:
    """A service with one sweep, whose other answers come from `handler`."""
    return lambda request: answer(sweep()) if request.url.path == "/v1/sweeps/swp_1" else handler(request)


def open_trial(connect: Connect, handler: Handler, number: int = 3) -> Any:
    def with_trial(request: httpx.Request) -> httpx.Response:
        return answer(trial(number)) if request.url.path.endswith(f"/trials/{number}") else handler(request)

    return connect(behind(with_trial)).sweep("swp_1").trial(number)


# waiting


def test_wait_returns_the_finished_sweep(connect: Connect, naps: list[float]) -> None:
    states = iter([SweepState.QUEUED, SweepState.QUEUED, SweepState.RUNNING, SweepState.FAILED])
    handle = connect(lambda _: answer(sweep(next(states)))).sweep("digits")

    assert handle.wait().state == SweepState.FAILED
    assert handle.state == SweepState.FAILED
    assert naps == sorted(naps)


def test_wait_outlives_a_restart_of_the_service(connect: Connect, naps: list[float]) -> None:
    looks = itertools.count()

    def handler(request: httpx.Request) -> httpx.Response:
        if (look := next(looks)) in range(2, 12):
            raise httpx.ConnectError("refused")
        return answer(sweep(SweepState.SUCCEEDED if look > 11 else SweepState.RUNNING))

    assert connect(handler).sweep("digits").wait().state == SweepState.SUCCEEDED


def test_wait_ends_with_its_timeout(connect: Connect) -> None:
    handle = connect(lambda _: answer(sweep())).sweep("digits")

    with pytest.raises(TimeoutError, match=r"digits is still running after 0\.02 s\. It goes on\."):
        handle.wait(timeout_s=0.02)


def test_the_progress_bar_shows_how_far_it_is(connect: Connect, capsys: pytest.CaptureFixture[str]) -> None:
    ended = sweep(
        SweepState.SUCCEEDED,
        trials={TrialState.COMPLETED: 1, TrialState.PRUNED: 3},
        best={"number": 2, "step": 3, "value": 0.0831},
    )
    connect(lambda _: answer(ended)).sweep("digits").wait(progress=True)

    shown = " ".join(capsys.readouterr().err.split())
    assert "digits succeeded" in shown
    assert "4/4 trials" in shown
    assert "0.0831" in shown


@pytest.mark.parametrize("progress", [None, False])
def test_there_is_no_bar_where_nobody_looks(
    connect: Connect, capsys: pytest.CaptureFixture[str], progress: bool | None
) -> None:
    connect(lambda _: answer(sweep(SweepState.SUCCEEDED))).sweep("digits").wait(progress=progress)

    assert capsys.readouterr() == ("", "")


def test_ctrl_c_says_how_to_come_back(capsys: pytest.CaptureFixture[str]) -> None:
    looks = itertools.count()

    def handler(request: httpx.Request) -> httpx.Response:
        if next(looks) == 2:
            raise KeyboardInterrupt
        return answer(sweep())

    with Client("http://toprung.test", transport=httpx.MockTransport(handler)) as client:
        handle = client.sweep("digits")
        with pytest.raises(KeyboardInterrupt):
            handle.wait()

    assert capsys.readouterr().err == "digits goes on without you. Come back with: toprung watch digits\n"


# listings


def test_pages_are_fetched_as_they_are_needed(connect: Connect) -> None:
    asked: list[dict[str, str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        page = int(request.url.params.get("cursor", "0"))
        items = [sweep(id=f"swp_{3 * page + n}").model_dump(mode="json") for n in range(3)]
        return answer({"items": items, "next_cursor": str(page + 1) if page < 2 else None})

    client = connect(handler)
    sweeps = client.sweeps(state="running", name="digits")

    assert asked == []
    assert [handle.id for handle in itertools.islice(sweeps, 4)] == ["swp_0", "swp_1", "swp_2", "swp_3"]
    assert len(asked) == 2
    assert asked[1] == {"state": "running", "name": "digits", "cursor": "1"}
    assert [handle.id for handle in client.sweeps()] == [f"swp_{n}" for n in range(9)]
    assert [handle.id for handle in client.sweeps(limit=5)] == [f"swp_{n}" for n in range(5)]
    assert list(client.sweeps(limit=0)) == []


def test_the_best_trials(connect: Connect) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/v1/sweeps/swp_1/best"
        found = [
            {"rank": n + 1, "why": "best", "trial": trial(n, value=n / 10).model_dump(mode="json")} for n in (0, 1)
        ]
        return answer({"items": found[: int(request.url.params["k"])]})

    handle = connect(behind(handler)).sweep("swp_1")

    assert handle.best().number == 0
    assert [(best.number, best.value) for best in handle.best(2)] == [(0, 0.0), (1, 0.1)]
    assert [best.rank for best in handle.best_trials(5)] == [1, 2]


def test_no_best_trial_yet(connect: Connect) -> None:
    handle = connect(behind(lambda _: answer({"items": []}))).sweep("swp_1")

    assert handle.best(3) == []
    with pytest.raises(NotFound, match="No trial of digits has a value of loss yet"):
        handle.best()


def test_results_are_read_page_after_page(connect: Connect) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        after = int(request.url.params["after_step"])
        steps = [
            {"number": 3, "step": step, "attempt": 1, "reported_at": "2026-01-02T03:04:05Z", "time_total_s": 1.0}
            | {"metrics": {"loss": step / 10}}
            for step in range(after + 1, min(after + 2, 5) + 1)
        ]
        return answer({"items": steps})

    results: list[Result] = open_trial(connect, handler).results()

    assert [result.step for result in results] == [1, 2, 3, 4, 5]


# logs


def test_a_log_goes_on_where_it_broke_off(connect: Connect, naps: list[float]) -> None:
    log, asked = "eins\nzwölf\n".encode(), list[dict[str, str]]()
    cuts = [7, 3, 0, 100]

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        rest = log[int(request.url.params["offset"]) :]
        end = cuts.pop(0)
        broken = httpx.ReadError("reset") if end < len(rest) else None
        return httpx.Response(200, headers=TEXT, stream=Chunks([rest[:end]] if end else [], broken))

    assert "".join(open_trial(connect, handler).logs(follow=True)) == log.decode()
    assert [params.get("attempt") for params in asked] == [None, "2", "2", "2"]  # not a newer attempt's log
    assert [params["offset"] for params in asked] == ["0", "7", "10", "10"]


def test_a_followed_log_may_be_silent_for_long(connect: Connect, naps: list[float]) -> None:
    left = [httpx.Response(200, headers=TEXT, stream=Chunks([], httpx.ReadTimeout("silent"))) for _ in range(30)]
    left.append(httpx.Response(200, headers=TEXT, text="at last"))

    assert list(open_trial(connect, lambda _: left.pop(0)).logs(follow=True)) == ["at last"]
    assert naps == []


def test_a_log_that_is_never_whole_is_given_up(connect: Connect, naps: list[float]) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers=TEXT, stream=Chunks([], httpx.ReadError("reset")))

    with pytest.raises(Unavailable):
        list(open_trial(connect, handler).logs())


# checkpoints


def tar(**files: bytes) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return raw.getvalue()


def send(*bodies: bytes | Exception, broken: Exception | None = None) -> Handler:
    """Answers with one after the other, the last one again and again; `broken` ends each."""
    left = list(bodies)

    def handler(request: httpx.Request) -> httpx.Response:
        body = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(body, Exception):
            raise body
        return httpx.Response(200, headers={"content-type": "application/x-tar"}, stream=Chunks([body], broken))

    return handler


MODEL = tar(**{"model.pt": b"weights", "sub/optim.pt": b"state"})


@pytest.mark.parametrize("exists", [False, True])
def test_a_checkpoint_becomes_a_folder(connect: Connect, tmp_path: Path, exists: bool) -> None:
    target = tmp_path / "deep" / "best"
    if exists:
        target.mkdir(parents=True)

    assert open_trial(connect, send(MODEL)).download_checkpoint(target) == target

    assert (target / "model.pt").read_bytes() == b"weights"
    assert (target / "sub" / "optim.pt").read_bytes() == b"state"
    assert list(target.parent.iterdir()) == [target]


def test_a_download_that_fails_is_tried_again(connect: Connect, naps: list[float], tmp_path: Path) -> None:
    handler = send(httpx.ReadError("reset"), httpx.ConnectError("refused"), MODEL)

    open_trial(connect, handler).download_checkpoint(str(tmp_path / "best"))

    assert (tmp_path / "best" / "model.pt").read_bytes() == b"weights"


@pytest.mark.parametrize(
    ("handler", "error"),
    [
        (lambda _: problem(404, "not_found", "Trial 3 has no checkpoint."), NotFound),
        (send(MODEL[:700], broken=httpx.ReadError("reset")), Unavailable),
        (send(MODEL[:700]), Unavailable),
        (send(tar(**{"model.pt": b"x", "../../evil.py": b"x"})), ToprungError),
    ],
    ids=["none", "breaks off", "cut short", "evil"],
)
def test_a_download_leaves_all_or_nothing(
    connect: Connect, naps: list[float], tmp_path: Path, handler: Handler, error: type[Exception]
) -> None:
    with pytest.raises(error):
        open_trial(connect, handler).download_checkpoint(tmp_path / "here" / "best")

    assert [path for path in tmp_path.rglob("*") if path.name != "here"] == []


@pytest.mark.parametrize("kind", ["file", "full folder"])
def test_nothing_is_overwritten(connect: Connect, tmp_path: Path, kind: str) -> None:
    target = tmp_path / "best"
    if kind == "file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "mine").touch()

    with pytest.raises(InvalidInput, match=r"best is (a file|not empty)\. Name a new folder"):
        open_trial(connect, send(MODEL)).download_checkpoint(target)
