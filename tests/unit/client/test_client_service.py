"""Against the real service: over HTTP for both clients, and in process for the async one."""

from __future__ import annotations

import asyncio
import io
import socket
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from tests.unit.client.client_help import SPEC, Connect, answer, problem, sweep

from toprung.client import AsyncClient
from toprung.errors import Conflict, InvalidSpec, NotFound
from toprung.serve.http.app import create_app
from toprung.serve.store import Store
from toprung.tuning.records import Action, Batch, CheckpointRef, Decision, Result, SweepState, Trial, TrialState
from toprung.tuning.spec import dump_spec, spec_from

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass
class Running:
    """A service without a cluster: the tests do by the store what the controller would."""

    store: Store
    home: Path
    app: Any
    url: str

    def train(self, sweep_id: str, number: int, losses: list[float], state: TrialState = TrialState.COMPLETED) -> None:
        trial = Trial(
            sweep_id=sweep_id,
            number=number,
            state=state,
            params={"lr": 0.1 / (number + 1)},
            config={"lr": 0.1 / (number + 1), "epochs": 3},
            attempt=1,
            step=len(losses),
            value=min(losses),
            best_step=losses.index(min(losses)) + 1,
            metrics={"loss": losses[-1]},
            created_at=NOW,
            started_at=NOW,
        )
        results = [
            Result(number=number, step=n + 1, attempt=1, reported_at=NOW, time_total_s=n, metrics={"loss": loss})
            for n, loss in enumerate(losses)
        ]
        self.store.write(Batch(sweep_id=sweep_id, trials=[trial], results=results))

    def start(self, sweep_id: str) -> None:
        self.store.set_sweep_state(sweep_id, SweepState.RUNNING)

    def finish(self, sweep_id: str) -> None:
        self.store.set_sweep_state(sweep_id, SweepState.SUCCEEDED)


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Running]:
    home = tmp_path / "home"
    home.mkdir()
    store = Store(f"sqlite:///{home / 'toprung.db'}")
    app = create_app(store, home)
    with socket.create_server(("127.0.0.1", 0)) as listening:  # connections queue until the server is up
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=1))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield Running(store, home, app, f"http://127.0.0.1:{listening.getsockname()[1]}")
        finally:
            server.should_exit = True
            thread.join()
            store.close()


@pytest.fixture
def client(connect: Connect, service: Running) -> Any:
    return connect(url=service.url)


def test_a_sweep_from_file_to_best_trial(client: Any, service: Running, tmp_path: Path) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text("def fit(config): ...")
    (project / "sweep.yaml").write_text(dump_spec(spec_from({**SPEC, "code": "."})))

    sweep = client.submit(project / "sweep.yaml")
    assert (sweep.name, sweep.state) == ("digits", "queued")
    package = service.home / "packages"
    (packed,) = [path for path in package.rglob("*") if path.is_file()]
    assert zipfile.ZipFile(io.BytesIO(packed.read_bytes())).namelist() == ["sweep.yaml", "train.py"]

    service.start(sweep.id)
    for number, losses in enumerate([[0.9, 0.5], [0.8], [0.7, 0.4, 0.3]]):
        service.train(sweep.id, number, losses)
    service.finish(sweep.id)

    assert sweep.wait(timeout_s=10).state == "succeeded"
    best = sweep.best()
    assert (best.number, best.value, best.config["epochs"]) == (2, 0.3, 3)
    assert [trial.number for trial in sweep.best(2)] == [2, 0]
    assert [found.rank for found in sweep.best_trials(3)] == [1, 2, 3]
    assert [result.metrics["loss"] for result in best.results()] == [0.7, 0.4, 0.3]


def test_the_same_key_is_the_same_sweep(client: Any) -> None:
    first = client.submit(SPEC, idempotency_key="mine")

    assert client.submit(SPEC, idempotency_key="mine").id == first.id
    with pytest.raises(Conflict):
        client.submit(SPEC, name="other", idempotency_key="mine")


def test_validate(client: Any) -> None:
    forecast = client.validate(SPEC)

    assert forecast.num_trials == 4
    assert list(client.sweeps()) == []


def test_the_service_finds_what_the_client_cannot(client: Any) -> None:
    with pytest.raises(InvalidSpec) as caught:
        client.submit({**SPEC, "code": "sha256:" + "0" * 64})

    assert caught.value.problems[0].pointer == "/code"
    assert caught.value.request_id


def test_finding_sweeps(client: Any) -> None:
    ids = [client.submit(SPEC, name=f"s{n}").id for n in range(3)]

    assert [sweep.id for sweep in client.sweeps()] == ids[::-1]
    assert [sweep.id for sweep in client.sweeps(limit=2)] == ids[:0:-1]
    assert [sweep.id for sweep in client.sweeps(name="s1", state="queued")] == [ids[1]]
    assert client.sweep("s2").id == client.sweep(ids[2]).id == ids[2]
    with pytest.raises(NotFound):
        client.sweep("s9")


def test_cancelling(client: Any) -> None:
    sweep = client.submit(SPEC)

    assert sweep.cancel().state == "cancelled"
    with pytest.raises(Conflict) as caught:
        sweep.cancel()
    assert caught.value.state == "cancelled"


def test_changing_what_is_there(client: Any, service: Running, tmp_path: Path) -> None:
    sweep = client.submit(SPEC)
    assert sweep.edit(concurrency=2, budget={"trials": 6}).num_trials == 6
    service.start(sweep.id)
    service.train(sweep.id, 0, [0.5], TrialState.FAILED)
    service.train(sweep.id, 1, [0.4], TrialState.RUNNING)

    assert sweep.trial(1).stop().stop_requested
    assert sweep.enqueue({"lr": 0.01}).num_trials == 7
    assert sweep.retry().num_trials == 8
    with pytest.raises(Conflict, match="no failed trial"):
        sweep.retry()
    service.finish(sweep.id)
    with pytest.raises(Conflict, match="extend"):
        sweep.edit(concurrency=3)
    (tmp_path / "train.py").write_text("def fit(config): ...")
    mended = sweep.retry(0, code=tmp_path)
    assert (mended.state, mended.spec.code[:7]) == ("queued", "sha256:")
    assert sweep.extend(trials=9).num_trials == 12

    clone = sweep.clone(name="other", metric={"goal": "maximize"})
    assert (clone.name, clone.record.spec.metric.goal, clone.record.num_trials) == ("other", "maximize", 9)


def test_an_edit_that_was_overtaken_looks_again(connect: Connect) -> None:
    sent: list[str] = []

    def service(request: httpx.Request) -> httpx.Response:
        revision = 1 + len(sent)
        if request.method == "GET":
            seen = answer(sweep())
            seen.headers["ETag"] = f'"r{revision}-0"'
            return seen
        sent.append(request.headers["if-match"])
        return problem(412, "precondition_failed") if revision == 1 else answer(sweep(revision=2))

    assert connect(service).sweep("digits").edit(concurrency=2).revision == 2
    assert sent == ['"r1-0"', '"r2-0"']


def test_trials_and_decisions(client: Any, service: Running) -> None:
    sweep = client.submit(SPEC)
    service.start(sweep.id)
    for number in range(3):
        service.train(sweep.id, number, [0.5 - number / 10], [TrialState.COMPLETED, TrialState.PRUNED][number % 2])
    decision = Decision(
        number=1,
        attempt=1,
        rung=1,
        bracket=0,
        action=Action.STOP,
        value=0.4,
        cutoff=0.3,
        rank=2,
        seen=2,
        places=1,
        decided_at=NOW,
    )
    service.store.write(Batch(sweep_id=sweep.id, decisions=[decision]))

    assert [trial.number for trial in sweep.trials()] == [0, 1, 2]
    assert [trial.number for trial in sweep.trials(order_by="value", limit=2)] == [2, 1]
    assert [trial.number for trial in sweep.trials(state="pruned")] == [1]
    assert list(sweep.decisions()) == list(sweep.decisions(number=1)) == [decision]
    assert list(sweep.decisions(number=0)) == []
    trial = sweep.trial(1)
    assert trial.refresh() == trial.record
    with pytest.raises(NotFound):
        sweep.trial(7)


def test_events_arrive_while_the_sweep_lives(client: Any, service: Running) -> None:
    sweep = client.submit(SPEC)
    events = sweep.events()
    seen = [next(events)]
    service.start(sweep.id)
    seen.append(next(events))
    service.train(sweep.id, 0, [0.5])
    service.finish(sweep.id)
    seen += events

    assert [event.type for event in seen if event.type == "sweep.state"] == ["sweep.state"] * 3
    assert {"trial.state", "trial.results"} <= {event.type for event in seen}
    assert [event.id for event in seen] == sorted({event.id for event in seen})
    assert list(sweep.events(after=seen[1].id)) == seen[2:]
    assert list(sweep.events(after=seen[-1].id)) == []


def test_events_of_all_sweeps(client: Any) -> None:
    ids = [client.submit(SPEC).id for _ in range(2)]
    events = client.events()

    assert [next(events).sweep_id for _ in ids] == ids
    events.close()


def test_logs(client: Any, service: Running) -> None:
    sweep = client.submit(SPEC)
    service.start(sweep.id)
    service.train(sweep.id, 0, [0.5])
    folder = service.home / "logs" / sweep.id
    folder.mkdir(parents=True)
    (folder / "0-1.log").write_text("epoch 1: ±0.5\n")
    service.finish(sweep.id)

    trial = sweep.trial(0)

    assert "".join(trial.logs()) == "epoch 1: ±0.5\n"
    assert "".join(trial.logs(attempt=1, follow=True)) == "epoch 1: ±0.5\n"


def test_a_checkpoint_comes_home(client: Any, service: Running, tmp_path: Path) -> None:
    sweep = client.submit(SPEC)
    service.start(sweep.id)
    service.train(sweep.id, 0, [0.5], TrialState.RUNNING)
    with pytest.raises(NotFound):
        sweep.trial(0).download_checkpoint(tmp_path / "none")
    kept = service.home / "runs" / sweep.id / "checkpoint"
    kept.mkdir(parents=True)
    (kept / "model.pt").write_bytes(b"weights")
    record = service.store.get_trial(sweep.id, 0)
    ref = CheckpointRef(step=1, path=str(kept))
    service.store.write(Batch(sweep_id=sweep.id, trials=[record.model_copy(update={"checkpoint": ref})]))

    folder = sweep.trial(0).download_checkpoint(tmp_path / "best")

    assert (folder / "model.pt").read_bytes() == b"weights"


def test_about_the_service(client: Any) -> None:
    assert "properties" in client.schema()
    assert set(client.version()) == {"version", "ray"}


def test_in_process(service: Running) -> None:
    async def main() -> None:
        async with AsyncClient("http://localhost", transport=httpx.ASGITransport(service.app)) as client:
            sweep = await client.submit(SPEC)
            await sweep.cancel()
            assert [found.id async for found in client.sweeps()] == [sweep.id]
            states = [event.data["state"] async for event in sweep.events()]
            assert states == ["queued", "cancelled"]

    asyncio.run(main())


def test_deleting_a_sweep_and_cleaning_up(client: Any, service: Running) -> None:
    sweep = client.submit(SPEC)
    with pytest.raises(Conflict) as refused:
        sweep.delete()
    sweep.cancel()
    log = service.home / "logs" / sweep.id / "0-1.log"
    log.parent.mkdir()
    log.write_text("hello\n")
    files = sweep.files()

    said = client.gc(dry_run=True, older_than_s=0.0)
    done = client.gc(older_than_s=0.0)
    sweep.delete()

    assert refused.value.state == "queued"
    assert [(each.kind, each.size_bytes, each.paths) for each in files] == [("logs", 6, [f"logs/{sweep.id}"])]
    assert [(each.kind, each.count, each.size_bytes) for each in said.items] == [("old_logs", 1, 6)]
    assert (said.dry_run, done.dry_run, said.items) == (True, False, done.items)
    assert not log.exists()
    with pytest.raises(NotFound):
        client.sweep(sweep.id)
    with pytest.raises(NotFound):
        list(sweep.events())
