"""What happens to the store and to the HTTP replicas while sweeps run and clients look on."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager

import httpx
import pytest

from tests.integration.conftest import WAIT_S, Service, Submit, processes_of, until
from tests.integration.test_recovery import STEPS, check_untouched, has_come_to, kill
from toprung import Client
from toprung.serve.store.database import WAIT_S as LOCK_WAIT_S
from toprung.tuning.records import Event, SweepState

pytestmark = pytest.mark.skipif("TOPRUNG_STORE" in os.environ, reason="the fault is one of SQLite")

SPEC = {
    "trainable": "math:exp",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "budget": {"trials": 1},
}


class Telling(httpx.HTTPTransport):
    """Tells when something is about to be posted."""

    def __init__(self) -> None:
        super().__init__()
        self.posts = threading.Event()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            self.posts.set()
        return super().handle_request(request)


@contextmanager
def locked(service: Service) -> Iterator[None]:
    """Another process, as far as SQLite can tell, is writing all the while."""
    with closing(sqlite3.connect(service.home / "toprung.db", isolation_level=None, timeout=30)) as connection:
        connection.execute("begin immediate")
        yield
        connection.execute("rollback")


def test_a_store_that_is_locked_for_long(service: Service, client: Client, submit: Submit) -> None:
    sweep = submit("learns_slowly", budget={"trials": 2}, scheduler={"type": "none"}, concurrency=2, wait=False)
    until(lambda: has_come_to(sweep, 2), timeout_s=120, what="a trial on its way")

    with locked(service), ThreadPoolExecutor() as pool:
        known, began = sweep.refresh().num_results, time.monotonic()
        submission = pool.submit(httpx.post, f"{service.url}/v1/sweeps", json=SPEC, timeout=60)
        while not submission.done():
            asked = time.monotonic()
            assert sweep.refresh().num_results == known
            assert time.monotonic() - asked < LOCK_WAIT_S / 2, "who reads does not wait for the lock"
        refused = submission.result()
        assert time.monotonic() - began < 2 * LOCK_WAIT_S

    assert (refused.status_code, refused.json()["code"]) == (503, "unavailable"), refused.text
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.headers["retry-after"] == "1"
    assert "another process has been writing for too long" in refused.json()["detail"]
    assert sweep.wait(timeout_s=120, progress=False).state is SweepState.SUCCEEDED
    check_untouched(sweep)
    assert all(t.record.step == STEPS and t.record.attempt == 1 for t in sweep.trials())
    assert not list(client.sweeps(name="exp"))


def test_a_replica_that_is_killed(service: Service, client: Client, submit: Submit) -> None:
    """In the middle of a stream and of a submission, which waits for the store then."""
    sweep = submit("learns_slowly", budget={"trials": 2}, scheduler={"type": "none"}, concurrency=2, wait=False)
    seen: list[Event] = []
    watcher = threading.Thread(target=lambda: seen.extend(sweep.events()), daemon=True)
    watcher.start()
    until(lambda: has_come_to(sweep, 2), timeout_s=120, what="a trial on its way")
    (replica,) = processes_of(service, "ServeReplica")

    telling = Telling()
    with Client(service.url, transport=telling, timeout_s=WAIT_S) as other, ThreadPoolExecutor() as pool:
        with locked(service):
            submission = pool.submit(other.submit, {**SPEC, "name": "submitted-once"})
            assert telling.posts.wait(30)
            for _ in range(3):  # what is answered was sent later
                sweep.refresh()
            kill(replica)
            replica.wait(30)
        submitted = submission.result(timeout=WAIT_S)

    assert [found.id for found in client.sweeps(name="submitted-once")] == [submitted.id]
    assert sweep.wait(timeout_s=120, progress=False).state is SweepState.SUCCEEDED
    check_untouched(sweep)
    watcher.join(timeout=WAIT_S)
    assert [event.id for event in seen] == [event.id for event in sweep.events()]
