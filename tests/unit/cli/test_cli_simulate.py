"""`toprung simulate`: whole sweeps in virtual time, from the file to the table."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from tests.unit.cli.cli_help import run
from tests.unit.cli.cli_served import Served

SPEC = """\
name: tiny
trainable: train:train
metric: {name: val_loss, goal: minimize}
parameters:
  lr: {type: float, low: 1e-5, high: 1e-1, log: true}
search: {algorithm: random, seed: 3}
scheduler: {type: asha, max_t: 9, grace_period: 1, reduction_factor: 3, mode: promote}
budget: {trials: 27}
resources: {gpu: 0.5}
"""
NOWHERE = "http://127.0.0.1:9"


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    path = tmp_path / "sweep.yaml"
    path.write_text(SPEC)
    return path


def test_it_says_what_the_sweep_would_cost(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = run("simulate", str(spec), "--workers", "100,1,3", "--step-s", "60", "--resume-s", "30", "--seeds", "2")

    assert (done.code, done.err) == (0, "")
    lines = done.out.splitlines()
    assert lines[0] == "tiny · 27 trials · random search + ASHA (promote, η = 3) · minimize val_loss"
    assert lines[1] == "0.5 GPU a trial · 60 s a step · 30 s a start or resume · 2 seeds: mean, range"
    assert [line.split()[0] for line in lines[4:10:2]] == ["1", "3", "100"]
    assert "100 %" in lines[4]
    expected = next(line for line in lines if line.startswith("expected"))
    assert expected.split()[1:] == ["27", "9", "3", "63"]
    assert "resumes" in done.out
    assert "There are 27 trials: more workers than that gain nothing." in done.out
    assert "made up" in done.out
    assert max(map(len, lines)) <= 80


def test_as_json_each_outcome_is_told(spec: Path) -> None:
    done = run("simulate", str(spec), "--workers", "2,4", "--step-s", "60", "--seeds", "3", "--json")

    told = done.json
    assert [(kind["workers"], kind["early_stopping"]) for kind in told["simulations"]] == [
        (2, True),
        (4, True),
        (4, False),
    ]
    assert [one["seed"] for one in told["simulations"][0]["outcomes"]] == [3, 4, 5]
    without = told["simulations"][-1]["outcomes"][0]
    assert (without["steps"], without["wall"], without["utilisation"]) == (243, 7 * 9 * 60, pytest.approx(27 / 28))
    assert (told["unit"], told["forecast"]["full_steps"]) == ("s", 243)
    assert any("made up" in note for note in told["notes"])


def test_without_seconds_times_are_in_steps(spec: Path) -> None:
    spec.write_text(SPEC.replace("{trials: 27}", "{trials: 27, gpu_hours: 1}"))
    done = run("simulate", str(spec), "--seeds", "1", "--workers", "3")

    assert "wall, steps" in done.out
    assert "Give --step-s" in done.out
    assert "budget.gpu_hours ends nothing here" in done.out
    assert run("simulate", str(spec), "--seeds", "1", "--json").json["unit"] == "step"


def test_everything_wrong_is_told_at_once(spec: Path) -> None:
    spec.write_text(SPEC.replace("{trials: 27}", "{wall_time_s: 60}") + "concurrency: 4\n")
    numbers = ["--resume-s", "-1", "--seeds", "0", "--max-steps", "0", "--step-s", "0"]

    first = run("simulate", str(spec), "--workers", "8", "--curve", "nothing", *numbers)
    second = run("simulate", str(spec), "--workers", "a", "--curve", "table:/not/there.csv", "--json")
    spec.write_text(SPEC.replace("low: 1e-5", "low: 5"))
    third = run("simulate", str(spec), "--workers", "0", "--json")

    assert (first.code, second.code, third.code) == (2, 2, 2)
    for told in ("concurrency (4)", "'nothing'", "--resume-s", "--seeds", "--max-steps", "--step-s"):
        assert told in first.err
    assert [problem["pointer"] for problem in second.json["errors"]] == ["--workers", "--curve", "/budget"]
    assert "--step-s, so that time can end it" in second.json["errors"][-1]["hint"]
    assert [problem["pointer"] for problem in third.json["errors"]] == ["/parameters/lr/low", "--workers"]


def test_what_would_not_end_ends_by_steps(spec: Path) -> None:
    spec.write_text(SPEC.replace("{trials: 27}", "{wall_time_s: 600}"))

    assert run("simulate", str(spec)).code == 2
    by_steps = run("simulate", str(spec), "--max-steps", "50", "--workers", "2", "--seeds", "1", "--json")
    by_time = run("simulate", str(spec), "--step-s", "60", "--workers", "2", "--seeds", "1", "--json")
    assert by_steps.json["simulations"][0]["outcomes"][0]["steps"] == 50
    assert by_time.json["simulations"][0]["outcomes"][0]["wall"] == 600
    spec.write_text(SPEC.replace("grace_period: 1", "grace_period: 3"))
    cut = run("simulate", str(spec), "--max-steps", "50", "--workers", "27", "--seeds", "1")
    assert re.search(r"^trials to step +0 +3 +9 +all steps", cut.out, re.MULTILINE)
    assert re.search(r"^27 workers +27 +0 +0 +50", cut.out, re.MULTILINE)


def test_a_trial_of_unknown_length_needs_curves_that_have_one(spec: Path, tmp_path: Path) -> None:
    spec.write_text(SPEC.replace(SPEC[SPEC.index("scheduler") : SPEC.index("budget")], ""))
    (tmp_path / "lengths.py").write_text("def curve(number, params):\n    return [1.0, 0.5]\n")

    assert "/scheduler/max_t" in run("simulate", str(spec)).err
    done = run("simulate", str(spec), "--curve", "lengths:curve", "--workers", "9", "--seeds", "1", "--json")
    assert done.json["simulations"][0]["outcomes"][0]["steps"] == 54


def test_a_table_of_curves(spec: Path, tmp_path: Path) -> None:
    rows = [f"{trial},{step},{10**-trial},{1 / step},{30 * step}" for trial in (1, 4) for step in range(1, 5)]
    table = tmp_path / "runs.csv"
    table.write_text("\n".join(["trial,step,lr,val_loss,time_total_s", *rows]))

    done = run("simulate", str(spec), "--curve", f"table:{table}", "--workers", "3", "--seeds", "1")

    assert done.code == 0, done.err
    assert "steps take as long as recorded" in done.out
    assert "the nearest of 2 recorded ones" in done.out
    assert "None of them went beyond step 4" in done.out


def test_the_curves_of_a_sweep(served: Served, tmp_path: Path) -> None:
    path = tmp_path / "next.yaml"
    path.write_text(SPEC.replace("max_t: 9", "max_t: 27"))

    done = run("simulate", str(path), "--curve", "sweep:digits-cnn", "--workers", "3", "--seeds", "1", "--json")

    assert done.code == 0, done.err
    assert done.json["unit"] == "s"
    assert done.json["simulations"][-1]["outcomes"][0]["best"] == 0.083
    assert "Each trial follows the nearest of 2 recorded ones." in done.json["notes"]
    path.write_text(SPEC.replace("max_t: 9", "max_t: 81"))
    longer = run("simulate", str(path), "--curve", "sweep:digits-cnn", "--workers", "3", "--seeds", "1", "--json")
    assert "None of them went beyond step 27: from there on curves stay where they are." in longer.json["notes"]
    assert longer.json["simulations"][-1]["outcomes"][0]["steps"] == 27 * 81
    assert run("simulate", str(path), "--curve", "sweep:no-such").code == 4
    assert run("simulate", str(path), "--curve", "sweep:x", "--url", NOWHERE).code == 3


def test_the_client_alone_says_what_to_install(spec: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "toprung.tuning.simulate.rehearse", None)

    done = run("simulate", str(spec))

    assert done.code == 1
    assert 'pip install "toprung[server]"' in done.err
