"""The commands against the real app."""

from __future__ import annotations

import json
from pathlib import Path
from threading import Thread

import pytest
import yaml
from tests.unit.cli.cli_help import run
from tests.unit.cli.cli_served import Served, new_sweep, trial

from toprung.serve.queue import MAX_RUNNING
from toprung.tuning.records import Batch, SweepState

SPEC = """\
name: tiny
trainable: toprung.examples.digits.train:train_digits
metric: {name: val_loss, goal: minimize}
parameters:
  lr: {type: float, low: 1e-4, high: 1e-1, log: true}
scheduler: {type: asha, max_t: 9, grace_period: 1, reduction_factor: 3}
budget: {trials: 9}
"""
INVALID = SPEC.replace("low: 1e-4", "low: 1.0").replace("max_t", "maxt")
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def spec(tmp_path: Path) -> str:
    path = tmp_path / "sweep.yaml"
    path.write_text(SPEC)
    return str(path)


@pytest.fixture
def invalid(tmp_path: Path) -> str:
    path = tmp_path / "sweep.yaml"
    path.write_text(INVALID)
    return str(path)


def test_submit_says_how_to_watch(served: Served, spec: str) -> None:
    done = run("submit", spec, "--name", "other")
    assert done.code == 0, done.err
    assert "toprung watch other" in done.out
    assert served.store.get_sweep("other").spec.trainable == "toprung.examples.digits.train:train_digits"


def test_submit_uploads_the_code(served: Served, spec: str, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text("def train(config): ...\n")
    Path(spec).write_text(SPEC.replace("toprung.examples.digits.train:train_digits", "train:train"))
    done = run("submit", spec, "--code", str(code), "--json")
    assert done.code == 0, done.err
    assert str(done.json["spec"]["code"]).startswith("sha256:")


def test_an_invalid_spec_is_told_line_by_line(served: Served, invalid: str) -> None:
    for name in ("submit", "validate"):
        done = run(name, invalid)
        assert done.code == 2
        lines = done.err.splitlines()
        assert lines[0] == f"{invalid} has 2 problems"
        assert any("line 5" in line and "/parameters/lr/low" in line for line in lines)
        assert any("line 6" in line and "/scheduler/maxt" in line and "max_t" in line for line in lines)
        assert lines[-1] == "Nothing was submitted."
        assert done.out == ""
    assert {sweep.name for sweep in served.store.list_sweeps().items} == {"digits-cnn", "still-going", "waiting"}


def test_an_invalid_spec_as_json(invalid: str) -> None:
    done = run("submit", invalid, "--json", "--url", NOWHERE)
    assert (done.code, done.err) == (2, "")
    assert done.json["code"] == "invalid_spec"
    assert {problem["pointer"] for problem in done.json["errors"]} == {"/parameters/lr/low", "/scheduler/maxt"}


def test_a_missing_file(served: Served) -> None:
    for name in ("submit", "validate"):
        done = run(name, "nowhere.yaml")
        assert (done.code, "nowhere.yaml" in done.err) == (2, True)
        assert "Traceback" not in done.err


def test_validate_asks_the_service(served: Served, spec: str) -> None:
    done = run("validate", spec)
    assert done.code == 0, done.err
    assert "tiny · 9 trials · TPE/GP + ASHA (stop, η = 3) · minimize val_loss" in done.out
    assert "rung" in done.out
    assert run("validate", spec, "--json").json["service"] == served.url


def test_validate_without_a_service(spec: str) -> None:
    done = run("validate", spec, "--url", NOWHERE)
    assert (done.code, "no cluster was asked" in done.out) == (0, True)
    assert run("validate", spec, "--url", NOWHERE, "--json").json["service"] is None


def test_validate_states_the_worst_case_of_the_median_rule(tmp_path: Path) -> None:
    path = tmp_path / "sweep.yaml"
    path.write_text(SPEC.replace("reduction_factor: 3", "min_samples: 4").replace("type: asha", "type: median"))
    done = run("validate", str(path), "--url", NOWHERE)
    assert (done.code, "TPE/GP + median stopping rule" in done.out, "at most 81 steps" in done.out) == (0, True, True)


def test_no_service(spec: str) -> None:
    for args in (["list"], ["status"], ["submit", spec], ["show", "x"], ["watch", "x"]):
        done = run(*args, "--url", NOWHERE)
        assert (done.code, done.out) == (3, "")
        assert "toprung up" in done.err
    assert run("--json", "list", "--url", NOWHERE).json["code"] == "no_service"


def test_a_home_without_a_service(tmp_path: Path) -> None:
    done = run("list", "--home", str(tmp_path))
    assert (done.code, f"toprung up --home {tmp_path}" in done.err) == (3, True)


def test_the_service_of_a_home(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOPRUNG_URL")
    served.home.announce(url=served.url, pid=1)
    assert run("--home", str(served.home.path), "list").code == 0


def test_a_wrong_url() -> None:
    done = run("list", "--url", "ftp:/nothing")
    assert (done.code, "ftp:/nothing" in done.err) == (2, True)


def test_list(served: Served) -> None:
    done = run("list")
    lines = done.out.splitlines()
    assert [line.split()[0] for line in lines] == ["name", "waiting", "still-going", "digits-cnn"]
    assert "0.0830" in lines[3]
    assert [item["name"] for item in run("list", "--state", "running", "--json").json["items"]] == ["still-going"]
    assert "No failed sweeps." in run("list", "--state", "failed").err
    assert len(run("list", "--limit", "2", "--json").json["items"]) == 2


def test_show_a_sweep(served: Served) -> None:
    done = run("show", "digits-cnn")
    assert "digits-cnn  succeeded  3/3 trials" in done.out
    assert "1 completed" in done.out
    assert run("show", served.done.id, "--json").json["sweep"]["name"] == "digits-cnn"


def test_show_tells_why_a_trial_was_stopped(served: Served) -> None:
    done = run("show", "digits-cnn", "1")
    assert "stopped at rung 1: 0.41, cutoff 0.35, rank 2 of 2" in done.out
    assert "net/hidden" in done.out
    assert run("show", "digits-cnn", "1", "--json").json["decisions"][0]["action"] == "stop"


def test_show_tells_why_a_trial_failed(served: Served) -> None:
    done = run("show", "digits-cnn", "2")
    assert "its code raised an error (ValueError: bad shapes)" in done.out
    assert 'File "train.py", line 41' in done.out


def test_trials(served: Served) -> None:
    rows = [line.split()[:2] for line in run("trials", "digits-cnn").out.splitlines()[1:]]
    assert rows == [["0", "completed"], ["1", "pruned"], ["2", "failed"]]
    best_first = run("trials", "digits-cnn", "--order-by", "value", "--limit", "1", "--json").json["items"]
    assert [item["number"] for item in best_first] == [0]
    assert [t["number"] for t in run("trials", "digits-cnn", "--state", "pruned", "--json").json["items"]] == [1]
    assert "has no cancelled trials" in run("trials", "digits-cnn", "--state", "cancelled").err


def test_best(served: Served) -> None:
    done = run("best", "digits-cnn", "-k", "1")
    assert "0.0830" in done.out
    assert "trial 0 leads" in done.out
    assert "accuracy" in done.out
    assert "memory" not in done.out
    assert [item["trial"]["number"] for item in run("best", "digits-cnn", "--json").json["items"]] == [0, 1]


def test_the_best_config_as_yaml(served: Served) -> None:
    done = run("best", "digits-cnn", "--yaml")
    assert yaml.safe_load(done.out) == served.store.get_trial(served.done.id, 0).config


def test_best_of_nothing(served: Served) -> None:
    for args in (["best", "waiting"], ["best", "waiting", "--yaml"], ["download", "waiting"]):
        assert run(*args).code == 4
    assert run("best", "waiting", "--json").json == {"items": []}


def test_logs(served: Served) -> None:
    assert run("logs", "digits-cnn", "0").out == "epoch 1\nepoch 2\n"
    assert run("logs", "digits-cnn", "0", "--attempt", "1").out == "epoch 1\nepoch 2\n"
    told = run("logs", "digits-cnn", "0", "--json").json_lines
    assert "".join(line["text"] for line in told) == "epoch 1\nepoch 2\n"


def test_download(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    done = run("download", "digits-cnn")
    assert done.code == 0, done.err
    assert (tmp_path / "digits-cnn-trial-0" / "checkpoint.pt").read_bytes() == b"weights"
    told = run("download", "digits-cnn", "0", "-o", "mine", "--json").json
    assert (Path(told["path"]).name, told["step"]) == ("mine", 27)
    assert run("download", "digits-cnn").code == 2  # the folder is there already
    assert run("download", "digits-cnn", "1").code == 4


def test_where_tensorboard_is(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"{served.url}/tensorboard/{served.done.id}/"
    opened: list[str] = []

    def no_browser(page: str) -> bool:  # a real one would open on the developer's screen
        opened.append(page)
        return False

    monkeypatch.setattr("webbrowser.open", no_browser)

    assert run("tensorboard", "digits-cnn").out == f"{url}\n"
    assert opened == []
    done = run("tensorboard", "digits-cnn", "--open", "--json")
    assert (done.json, opened) == ({"url": url}, [url])
    assert "No browser" in done.err
    assert run("tensorboard", "nope").code == 4


def test_what_is_not_there(served: Served) -> None:
    for args in (["show", "nope"], ["show", "digits-cnn", "99"], ["logs", "digits-cnn", "99"], ["cancel", "nope"]):
        done = run(*args)
        assert done.code == 4
        assert done.err.count("\n") <= 2
        assert run(*args, "--json").json["code"] == "not_found"


def test_pause_and_resume(served: Served) -> None:
    assert run("pause", "waiting").out == "waiting is paused; `toprung resume waiting` lets it go on.\n"
    assert run("resume", "waiting").out == "waiting goes on: 0 trials to take up.\n"
    assert "is pausing: 1 trial to stop" in run("pause", "still-going").out
    assert "is pausing" in run("show", "still-going").out
    done = run("resume", "still-going")
    assert (done.code, "still pausing" in done.err) == (5, True)
    assert run("pause", "digits-cnn", "--json").json["state"] == "succeeded"


def test_changing_a_sweep(served: Served) -> None:
    assert run("edit", "waiting", "--concurrency", "3").out == "waiting is changed (revision 2).\n"
    done = run("edit", "waiting")
    assert (done.code, "Say what to change" in done.err) == (2, True)
    done = run("edit", "waiting", "--weight", "-1")
    assert (done.code, "weight" in done.err) == (2, True)
    done = run("edit", "digits-cnn", "--priority", "1")
    assert (done.code, "toprung extend" in done.err) == (5, True)


def test_extending_a_sweep(served: Served) -> None:
    assert run("extend", "digits-cnn", "--trials", "5").out == "digits-cnn is queued, with a budget of trials 8.\n"
    done = run("extend", "digits-cnn", "--wall-time", "60")
    assert (done.code, "no budget of wall_time_s to extend; it has one of trials 8" in done.err) == (2, True)


def test_trials_that_are_asked_for(served: Served) -> None:
    assert run("retry", "digits-cnn", "--failed").out == "digits-cnn is queued, to try 1 trial again.\n"
    done = run("retry", "digits-cnn", "--failed")
    assert (done.code, "no failed trial" in done.err) == (5, True)
    assert run("retry", "digits-cnn").code == 2
    done = run("enqueue", "digits-cnn", "lr=1e-2", "net/hidden=32", "optimizer=adam")
    assert done.out == "digits-cnn is queued, with a trial of lr=1e-2, net/hidden=32, optimizer=adam.\n"
    requests, _ = served.store.edits.orders(served.done.id)
    assert requests[-1].params == {"lr": 0.01, "net/hidden": 32, "optimizer": "adam"}
    for wrong, told in (("lr", "NAME=VALUE"), ("lr=[1", "can't be read"), ("lr=7", "/config/lr")):
        done = run("enqueue", "digits-cnn", wrong)
        assert (done.code, told in done.err) == (2, True), done.err
    assert run("enqueue", "digits-cnn", "lr=0.01", "lr=0.02").code == 2


def test_stopping_a_trial(served: Served) -> None:
    assert run("stop", "still-going", "0").out == "Trial 0 is being stopped.\n"
    done = run("stop", "digits-cnn", "0")
    assert (done.code, "is over" in done.err) == (5, True)


def test_cloning_a_sweep(served: Served) -> None:
    done = run("clone", "digits-cnn", "--name", "again", "--set", "budget.trials=7", "--set", "search.seed=3")
    assert "Watch it with `toprung watch again`" in done.out
    made = served.store.get_sweep("again")
    assert (made.spec.budget.trials, made.spec.search.seed, made.num_trials) == (7, 3, 7)


def test_usage(served: Served) -> None:
    done = run("usage")
    assert done.out.split()[:5] == ["owner", "sweeps", "trials", "steps", "GPU-hours"]
    assert done.out.split()[5] == "–"
    assert run("usage", "--json").json["items"][0]["sweeps"] == 2, "the one that waits has used nothing"
    assert run("usage", "--since", "2100-01-01").err == "No sweeps were started then.\n"
    assert run("usage", "--since", "soon").code == 2


def test_what_waits_says_where(served: Served) -> None:
    for number in range(MAX_RUNNING):
        new_sweep(served.store, f"later-{number}")
    assert "\n  is next in the queue\n" in run("show", f"later-{MAX_RUNNING - 2}").out
    assert "\n  is number 2 in the queue\n" in run("show", f"later-{MAX_RUNNING - 1}").out


def test_what_failed_says_what_to_do(served: Served) -> None:
    assert "after a fix: toprung retry digits-cnn --failed --code DIR" in run("show", "digits-cnn").out


def test_cancel(served: Served) -> None:
    assert run("cancel", "waiting").out == "waiting is cancelled.\n"
    assert "is being cancelled: 1 trial to stop" in run("cancel", "still-going").out
    done = run("cancel", "digits-cnn")
    assert (done.code, "succeeded" in done.err) == (5, True)
    assert run("cancel", "digits-cnn", "--json").json["state"] == "succeeded"


def test_status_and_version(served: Served) -> None:
    done = run("status")
    assert f"at {served.url}" in done.out
    assert "1 sweep running, 1 queued" in done.out
    assert [s["name"] for s in run("status", "--json").json["active_sweeps"]] == ["still-going", "waiting"]
    assert run("version", "--json").json["service"]["version"]
    assert run("version", "--json", "--url", NOWHERE).json["service"] is None


def test_schema(served: Served) -> None:
    assert json.loads(run("schema").out) == run("schema", "--json").json


def test_watching_a_finished_sweep_shows_how_it_ended(served: Served) -> None:
    done = run("watch", "digits-cnn")
    assert done.code == 0
    lines = done.out.splitlines()
    assert "digits-cnn: warning: W&B is away" in lines
    assert "digits-cnn: [3/3] trial 2 failed at step 0: ValueError: bad shapes" in lines
    assert any(line.startswith("digits-cnn  succeeded  3 trials") for line in lines)
    assert "\x1b" not in done.out


def test_watch_follows_until_the_end(served: Served) -> None:
    store, sweep = served.store, served.running
    thread = Thread(target=finish, args=(served,))
    thread.start()
    done = run("watch", "still-going")
    thread.join()
    assert done.code == 6
    assert "still-going: [1/3] trial 0 pruned at step 1, val_loss 0.5000" in done.out
    assert "still-going: failed, 1 trial ended: too bad" in done.out
    assert store.get_sweep(sweep.id).state == SweepState.FAILED


def finish(served: Served) -> None:
    ended = trial(served.running, 0, "pruned", step=1, value=0.5, best_step=1)
    served.store.write(Batch(sweep_id=served.running.id, trials=[ended]))
    served.store.set_sweep_state(served.running.id, SweepState.FAILED, "too bad")


def test_watch_as_json_lines(served: Served) -> None:
    told = run("watch", "digits-cnn", "--json").json_lines
    assert told[0]["type"] == "sweep.state"
    assert told[-1]["type"] == "summary"
    assert [item["trial"]["number"] for item in told[-1]["best"]] == [0, 1]
    ids = [line["id"] for line in told[:-1]]
    assert ids == sorted(set(ids))


def test_submit_and_watch_a_sweep_that_is_cancelled(served: Served, spec: str) -> None:
    def cancel_it() -> None:
        while not served.store.list_sweeps(name="tiny").items:
            pass
        served.store.request_cancel("tiny")

    thread = Thread(target=cancel_it)
    thread.start()
    done = run("submit", spec, "--watch", "--json")
    thread.join()
    assert done.code == 6
    assert done.json_lines[0]["type"] == "submitted"
    assert done.json_lines[-1]["sweep"]["state"] == "cancelled"


def test_a_bug_is_one_line(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise KeyError("oops")

    monkeypatch.setattr("toprung.cli.sweeps.print_sweeps", broken)
    done = run("list")
    assert done.code == 1
    assert done.err.startswith("This is a bug in toprung: KeyError: 'oops'")
    assert "TOPRUNG_DEBUG=1" in done.err
    assert "Traceback" not in done.err
    assert "Traceback" in run("list", env={"TOPRUNG_DEBUG": "1"}).err


def test_names_are_completed(served: Served) -> None:
    env = {"_TOPRUNG_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "toprung show dig"}
    assert "digits-cnn" in run(env=env).out
    assert run(env=env | {"TOPRUNG_URL": NOWHERE}).out.strip() in ("", "_files")
