"""What W&B and MLflow are told, read back from their files; what happens when the tracker is killed, or they fail."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import wandb
from tests.integration.conftest import until
from tests.integration.store.records import new_sweep, result, trial, write
from tests.integration.tracking import mlflow_runs, wandb_server
from tests.integration.tracking.told import drained, finished, told, warnings
from tests.integration.tracking.wandb_file import Run, runs_in
from tests.unit.cli.cli_help import run

from toprung.errors import Unavailable
from toprung.serve.store import Store
from toprung.serve.tracking.mlflow import _database
from toprung.serve.tracking.runs import RunSink, RunTracker
from toprung.tuning.records import BestTrial, Result, Sweep, SweepState, Trial, TrialState

CANARY = "c0ffee" + "0" * 34
pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:DeprecationWarning",  # MLflow's own, with SQLAlchemy 2.1
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path}/toprung.db")
    yield opened
    opened.close()


class TestWandb:
    @pytest.fixture
    def sweep(self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sweep:
        monkeypatch.setenv("WANDB_API_KEY", CANARY)
        options = {"project": "demo", "entity": "team", "tags": ["a", "b"], "notes": "why", "job_type": "train"}
        sweep = told(store, home=tmp_path, wandb=options)
        drained(RunTracker(store, tmp_path))
        assert warnings(store, sweep) == []
        return sweep

    @pytest.fixture
    def runs(self, sweep: Sweep, tmp_path: Path) -> dict[str, Run]:
        return {run.name: run for run in runs_in(tmp_path).values()}

    def test_a_run_for_each_trial_that_ran_and_one_for_the_sweep(self, runs: dict[str, Run]) -> None:
        run = runs["digits-0"]
        assert runs.keys() == {"digits", "digits-0", "digits-1"}
        assert {run.group for run in runs.values()} == {run.group}
        assert run.group.startswith("digits-")
        assert (run.project, run.entity, run.job_type, run.notes) == ("demo", "team", "train", "why")
        assert run.tags == ["a", "b"]
        assert (run.config["lr"], run.config["epochs"]) == (0.01, 27)

    def test_metrics_by_step(self, runs: dict[str, Run]) -> None:
        run = runs["digits-0"]
        history = [(row["_step"], row["step"], row["val_loss"], row["accuracy"]) for row in run.history]
        assert history == [(1, 1, 0.5, 0.8), (2, 2, 0.25, 0.9)]
        assert "missing" not in run.history[1]
        assert run.metrics["*"] == ("step", "")
        assert run.metrics["memory/*"] == ("step", "max")

    def test_the_final_state(self, runs: dict[str, Run]) -> None:
        summary = runs["digits-0"].summary
        assert (summary["state"], summary["best_value"], summary["best_step"]) == ("completed", 0.25, 2)
        assert summary["val_loss"] == {"min": 0.25, "last": 0.25}
        assert (runs["digits-0"].exit_code, runs["digits-1"].exit_code) == (0, 1)
        assert runs["digits-1"].summary["reason"] == "ValueError: no"

    def test_the_sweeps_run_has_the_best_trial_and_its_checkpoint(self, runs: dict[str, Run], tmp_path: Path) -> None:
        run = runs["digits"]
        assert run.job_type == "sweep"
        assert run.config["best"] == {"lr": 0.01, "epochs": 27}
        assert run.config["spec"]["metric"]["name"] == "val_loss"
        assert (run.summary["best_value"], run.summary["best_trial"], run.summary["results"]) == (0.25, 0, 3)
        (artifact,) = run.artifacts
        (file,) = artifact.manifest.contents
        assert (artifact.type, artifact.name) == ("model", f"{run.group}-best")
        assert Path(file.local_path).read_bytes() == b"weights"
        assert Path(file.local_path).is_relative_to(tmp_path / "runs"), "it is not copied"

    def test_the_key_is_nowhere(self, runs: dict[str, Run], tmp_path: Path) -> None:
        files = [path for path in tmp_path.rglob("*") if path.is_file()]
        assert runs
        assert [path for path in files if CANARY.encode() in path.read_bytes()] == []

    def test_a_sweep_that_is_extended_ends_again(self, store: Store, sweep: Sweep, tmp_path: Path) -> None:
        before = runs_in(tmp_path)
        store.edits.extend(sweep.id, {"trials": 60})
        store.set_sweep_state(sweep.id, SweepState.RUNNING)
        again = trial(sweep, 7, state=TrialState.COMPLETED, step=1, value=0.1, best_step=1)
        write(store, sweep, trials=[again], results=[result(7, step=1, val_loss=0.1)])
        store.set_sweep_state(sweep.id, SweepState.SUCCEEDED)

        drained(RunTracker(store, tmp_path))

        after = runs_in(tmp_path)
        assert after.keys() == before.keys() | {f"{sweep.id}-7"}
        assert after[sweep.id].summary["best_trial"] == 7
        assert after[f"{sweep.id}-0"] == before[f"{sweep.id}-0"], "untouched"

    def test_disabled_writes_nothing(self, store: Store, tmp_path: Path) -> None:
        told(store, wandb={"project": "demo", "mode": "disabled"})
        drained(RunTracker(store, tmp_path))
        assert [*tmp_path.rglob("*.wandb")] == []

    def test_online_without_a_key_is_told_once(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("WANDB_API_KEY", raising=False)
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        wandb.teardown()  # it keeps the credentials of earlier tests
        sweep = told(store, wandb={"project": "demo", "mode": "online"})
        drained(RunTracker(store, tmp_path))
        drained(RunTracker(store, tmp_path))  # the next start of the service
        (warning,) = warnings(store, sweep)
        assert "WANDB_API_KEY" in warning


class TestWandbsServer:
    """Online, against a stand-in for the server."""

    @pytest.fixture
    def server(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[wandb_server.Wandb]:
        with wandb_server.serving() as server:
            monkeypatch.setenv("WANDB_BASE_URL", server.url)
            monkeypatch.setenv("WANDB_API_KEY", CANARY)
            wandb.teardown()  # it keeps the server and the credentials of earlier tests
            yield server
            wandb.teardown()

    def test_a_run_goes_on_where_the_server_has_it(
        self, server: wandb_server.Wandb, store: Store, tmp_path: Path
    ) -> None:
        sweep = told(store, ended=False, wandb={"project": "demo", "mode": "online", "tags": ["a"]})
        first = RunTracker(store, tmp_path)
        while first.step():
            pass
        first.close()  # the service stops
        run = server.runs[f"{sweep.id}-0"]
        assert [(row["_step"], row["val_loss"]) for row in run.rows] == [(1, 0.5)], "before the trial has ended"

        # what the server never got, as where wandb's process was killed: the next tracker sends it again
        del server.runs[f"{sweep.id}-1"].history[:]
        server.runs[f"{sweep.id}-1"].summary = {}
        finished(store, sweep)
        drained(RunTracker(store, tmp_path))

        assert warnings(store, sweep) == []
        assert server.runs.keys() == {sweep.id, f"{sweep.id}-0", f"{sweep.id}-1"}
        for number in (0, 1):
            run = server.runs[f"{sweep.id}-{number}"]
            steps = [(each.step, each.metrics["val_loss"]) for each in store.list_results(sweep.id, number)]
            assert [(row["_step"], row["val_loss"]) for row in run.rows] == steps
            assert (run.overwritten, run.exit_codes[-1]) == (0, number)
        assert run.variables["groupName"].startswith("digits-")
        assert (run.variables["displayName"], run.variables["jobType"], run.variables["tags"]) == (
            "digits-1",
            "trial",
            ["a"],
        )
        assert run.config == {"lr": 0.01, "epochs": 27, "toprung": {"sweep": sweep.id, "trial": 1}}
        assert (run.summary["state"], run.summary["val_loss"]["min"]) == ("failed", 0.9)
        assert (server.runs[sweep.id].summary["best_value"], server.runs[sweep.id].exit_codes) == (0.25, [0])

    def test_what_was_written_offline_is_sent_later(
        self, server: wandb_server.Wandb, store: Store, tmp_path: Path
    ) -> None:
        sweep = told(store, wandb={"project": "demo"})
        drained(RunTracker(store, tmp_path))
        assert server.runs == {}

        for _ in range(2):  # once it is sent it is not sent again
            done = run(f"--home={tmp_path}", "--json", "wandb", "sync", sweep.id)
            assert done.code == 0, done.err
            assert server.runs.keys() == {sweep.id, f"{sweep.id}-0", f"{sweep.id}-1"}

        sent = server.runs[f"{sweep.id}-0"]
        assert [(row["_step"], row["val_loss"]) for row in sent.rows] == [(1, 0.5), (2, 0.25)]
        assert (sent.overwritten, sent.exit_codes) == (0, [0])


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of MLflow's, which takes it seconds to make."""
    return _database(tmp_path_factory.mktemp("mlflow"))


class TestMlflow:
    @pytest.fixture(autouse=True)
    def made(self, database: Path, tmp_path: Path) -> None:
        (tmp_path / "mlflow").mkdir()
        shutil.copy(database, tmp_path / "mlflow")

    def test_a_database_that_was_left_half_made_is_made_again(self, tmp_path: Path) -> None:
        folder = tmp_path / "mlflow"
        (folder / "mlflow.db").rename(folder / "whole")
        (folder / "mlflow.db.new").write_bytes((folder / "whole").read_bytes()[:8192])
        assert _database(folder) == folder / "mlflow.db"
        assert [path.name for path in folder.glob("mlflow*")] == ["mlflow.db"]

    def test_a_run_for_the_sweep_and_one_below_it_for_each_trial(self, store: Store, tmp_path: Path) -> None:
        sweep = told(store, ended=False, mlflow={"experiment": "demo"})
        tracker = RunTracker(store, tmp_path)
        while tracker.step():
            pass
        live = mlflow_runs.runs_in(self.uri(tmp_path), "demo")
        assert {run.status for run in live.values()} == {"RUNNING"}
        assert live["digits-0"].metrics["val_loss"] == [(1, 0.5)], "while it runs"

        finished(store, sweep)
        drained(tracker)

        assert warnings(store, sweep) == []
        runs = mlflow_runs.runs_in(self.uri(tmp_path), "demo")
        parent = runs[f"digits-{sweep.id[-6:]}"]
        assert runs.keys() == {parent.name, "digits-0", "digits-1"}
        run = runs["digits-0"]
        assert run.metrics["val_loss"] == [(1, 0.5), (2, 0.25)]
        assert run.metrics["memory/rss_mb"] == [(2, 300.0)]
        assert run.metrics["best/val_loss"] == [(2, 0.25)]
        assert run.params == {"lr": "0.01", "epochs": "27"}
        assert {run.status, parent.status} == {"FINISHED"}
        assert run.tags["mlflow.parentRunId"] == runs["digits-1"].tags["mlflow.parentRunId"] == parent.id
        assert (runs["digits-1"].status, runs["digits-1"].tags["toprung.reason"]) == ("FAILED", "ValueError: no")
        assert (parent.params["metric"], parent.metrics["best/val_loss"]) == ("val_loss", [(2, 0.25)])
        assert (parent.tags["toprung.state"], parent.tags["toprung.best_trial"]) == ("succeeded", "0")

    def test_names_and_values_as_mlflow_takes_them(self, store: Store, tmp_path: Path) -> None:
        uri = f"sqlite:///{shutil.copy(tmp_path / 'mlflow' / 'mlflow.db', tmp_path / 'other.db')}"
        sweep = new_sweep(store, tracking={"tensorboard": False, "mlflow": {"experiment": "x", "tracking_uri": uri}})
        config = {"net": {"a+b": "x" * 7_000}, **{f"p{i}": i for i in range(150)}}
        end = trial(sweep, config=config, state=TrialState.COMPLETED, step=2, value=0.1, best_step=1)
        metrics: dict[str, Any] = {f"m{i}%": 1.0 for i in range(700)}
        rows = [result(step=step, **metrics) for step in (1, 2)]
        write(store, sweep, trials=[end], results=rows)
        store.set_sweep_state(sweep.id, SweepState.SUCCEEDED)

        drained(RunTracker(store, tmp_path))

        assert warnings(store, sweep) == []
        run = mlflow_runs.runs_in(uri, "x")[f"{sweep.name}-0"]
        assert (len(run.params), len(run.params["net/a_b"])) == (151, 6_000)
        assert run.metrics["m699_"] == [(1, 1.0), (2, 1.0)]

    def test_a_server_that_is_away_is_told_once(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        sweep = told(store, mlflow={"experiment": "x", "tracking_uri": "http://127.0.0.1:9"})
        drained(RunTracker(store, tmp_path, pauses_s=()))
        (warning,) = warnings(store, sweep)
        assert warning.startswith("mlflow is off for this sweep: ")

    def test_a_service_without_it_says_what_to_install(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delitem(sys.modules, "toprung.serve.tracking.mlflow", raising=False)
        monkeypatch.setitem(sys.modules, "mlflow.entities", None)  # as where it is not installed
        sweep = told(store, mlflow={"experiment": "x"})
        drained(RunTracker(store, tmp_path))
        (warning,) = warnings(store, sweep)
        assert 'pip install "toprung[mlflow]"' in warning

    def uri(self, home: Path) -> str:
        return f"sqlite:///{home}/mlflow/mlflow.db"


def test_a_tracker_that_is_killed_loses_and_doubles_no_step(store: Store, tmp_path: Path, database: Path) -> None:
    """Within W&B's first run, then within MLflow's; nothing of these calls had been noted."""
    sweep = told(store, home=tmp_path, wandb={"project": "demo"}, mlflow={"experiment": "demo"})
    (tmp_path / "mlflow").mkdir()
    shutil.copy(database, tmp_path / "mlflow")
    for call in (3, 11, 0):
        command = [sys.executable, str(Path(__file__).with_name("killed.py")), str(tmp_path), str(call)]
        # a process of its own for wandb, too: not the one that tests before this one have started in this process
        env = {name: value for name, value in os.environ.items() if name != "WANDB_SERVICE"}
        env["PYTHONPATH"] = os.pathsep.join(sys.path)
        with (tmp_path / "log").open("wb") as log:  # no pipe: wandb's own process holds it for a while after the kill
            done = subprocess.run(command, stdout=log, stderr=log, timeout=240, env=env, check=False)
        assert done.returncode == (-signal.SIGKILL if call else 0), (tmp_path / "log").read_text()[-2000:]

    assert warnings(store, sweep) == []
    runs = runs_in(tmp_path)
    logged = mlflow_runs.runs_in(f"sqlite:///{tmp_path}/mlflow/mlflow.db", "demo")
    assert (len(runs), len(logged)) == (3, 3)
    assert all(run.exit_code is not None for run in runs.values())
    assert [run.status for run in logged.values()].count("FINISHED") == 2
    for number in (0, 1):
        steps = [(r.step, r.metrics["val_loss"]) for r in store.list_results(sweep.id, number)]
        assert steps
        assert [(row["_step"], row["val_loss"]) for row in runs[f"{sweep.id}-{number}"].history] == steps
        assert logged[f"digits-{number}"].metrics["val_loss"] == steps


class Noting:
    """A sink that notes what it is told; made up, so that its system may forget, or fail."""

    def __init__(self, *, live: bool = True, fails_in: str = "", has: int = 0) -> None:
        self.live = live
        self.notes: list[str] = []
        self._fails_in = fails_in
        self._has = has

    def _note(self, call: str, text: str) -> None:
        self.notes.append(text)
        if call == self._fails_in:
            raise RuntimeError("wandb did not write the file in 30 s")

    def begin(self, sweep: Sweep) -> None:
        self._note("begin", "begin")

    def open(self, trial: Trial) -> int:
        self._note("open", f"open {trial.number}")
        return self._has

    def log(self, trial: Trial, results: Sequence[Result]) -> None:
        self._note("log", f"{trial.number}: " + ", ".join(str(result.step) for result in results))

    def leave(self, trial: Trial) -> None:
        self._note("leave", f"leave {trial.number}")

    def finish(self, trial: Trial) -> None:
        self._note("finish", f"finish {trial.number}")

    def end(self, sweep: Sweep, best: BestTrial | None) -> None:
        self._note("end", f"end {best.trial.number if best else None}")

    def close(self) -> None:
        self._note("close", "close")


def tracker_of(store: Store, home: Path, sink: RunSink) -> RunTracker:
    return RunTracker(store, home, lambda *_: {"noting": lambda: sink})


def test_a_trial_that_waits_is_left_and_taken_up_where_its_system_has_it(store: Store, tmp_path: Path) -> None:
    sweep = new_sweep(store)
    write(store, sweep, trials=[trial(sweep)], results=[result(step=1)])
    first = Noting()
    tracker = tracker_of(store, tmp_path, first)
    assert tracker.step()
    assert not tracker.step()
    write(
        store, sweep, trials=[trial(sweep, state=TrialState.PAUSED, step=3)], results=[result(step=s) for s in (2, 3)]
    )
    assert tracker.step()
    assert first.notes == ["begin", "open 0", "0: 1", "0: 2, 3", "leave 0"]
    tracker.close()

    write(store, sweep, trials=[trial(sweep, attempt=2)])
    write(store, sweep, results=[result(step=4, attempt=2)])
    second = Noting(has=2)  # it has lost step 3
    assert tracker_of(store, tmp_path, second).step()
    assert second.notes == ["begin", "open 0", "0: 3, 4"]


def test_a_sweep_that_comes_and_goes_between_two_rounds_is_told(store: Store, tmp_path: Path) -> None:
    sink = Noting(live=False)
    tracker = tracker_of(store, tmp_path, sink)
    assert not tracker.step()
    told(store)
    drained(tracker)
    trials = ["open 0", "0: 1, 2", "finish 0", "open 1", "1: 1", "finish 1"]
    assert sink.notes == ["begin", *trials, "end 0", "close"]


@pytest.mark.parametrize("call", ["make", "begin", "open", "log", "finish", "end"])
def test_a_failure_is_told_once_and_ends_there(store: Store, tmp_path: Path, call: str) -> None:
    def make() -> RunSink:
        if call == "make":
            raise ImportError("no such library")
        return Noting(fails_in=call)

    sinks: dict[str, Callable[[], RunSink]] = {"failing": make}
    sweep = told(store)
    for _ in range(2):
        drained(RunTracker(store, tmp_path, lambda *_: sinks, pauses_s=()))

    (warning,) = warnings(store, sweep)
    assert warning.startswith("failing is off for this sweep: ")


@pytest.mark.parametrize("call", ["begin", "open", "log", "finish", "end"])
def test_a_system_that_is_away_for_a_while_misses_nothing(store: Store, tmp_path: Path, call: str) -> None:
    """Its first two sinks fail; the third finds what the system has so far."""
    sinks = [Noting(fails_in=call), Noting(fails_in=call), Noting()]
    made: list[Noting] = []

    def make() -> RunSink:
        made.append(sinks[len(made)])
        return made[-1]

    sweep = told(store)
    tracker = RunTracker(store, tmp_path, lambda *_: {"noting": make}, pauses_s=(0.01, 0.01))
    until(lambda: not tracker.step() and made == sinks and made[-1].notes[-1] == "close", what="the end of the sweep")

    trials = ["open 0", "0: 1, 2", "finish 0", "open 1", "1: 1", "finish 1"]
    assert made[-1].notes == ["begin", *trials, "end 0", "close"]
    assert warnings(store, sweep) == []


def test_a_key_that_is_missing_is_not_waited_for(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # as it answers where there is no key; asked in earnest, it leaves this process's wandb changed for other tests
    monkeypatch.setattr(wandb.sdk, "login", lambda **_: False)
    sweep = told(store, wandb={"project": "demo", "mode": "online"})
    drained(RunTracker(store, tmp_path, pauses_s=(60.0,)))
    (warning,) = warnings(store, sweep)
    assert warning.startswith("wandb is off for this sweep: no W&B key: set WANDB_API_KEY")


def test_a_store_that_is_away_is_no_failure_of_the_system(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink = Noting()
    tracker = tracker_of(store, tmp_path, sink)
    sweep = told(store)

    def away(*_: object) -> None:
        raise Unavailable("locked")

    with monkeypatch.context() as patched:
        patched.setattr(store, "set_cursor", away)
        with pytest.raises(Unavailable):
            tracker.step()
    drained(tracker)
    assert warnings(store, sweep) == []
    assert sink.notes[-2:] == ["end 0", "close"]


def test_a_deleted_sweep_is_let_go(store: Store, tmp_path: Path) -> None:
    gone, sink = new_sweep(store, name="gone"), Noting()
    write(store, gone, trials=[trial(gone)], results=[result(step=1)])
    tracker = tracker_of(store, tmp_path, sink)
    assert tracker.step()
    store.set_sweep_state(gone.id, SweepState.SUCCEEDED)
    store.delete_sweep(gone.id)
    new_sweep(store, name="other")
    assert store.get_cursor(f"tracker/{gone.id}/noting") > 0
    while not store.retention.remove_rows(gone.id, 100):
        pass

    drained(tracker)

    assert sink.notes.count("close") == 2  # "other" has the same sink
    assert store.get_cursor(f"tracker/{gone.id}/noting") == 0
