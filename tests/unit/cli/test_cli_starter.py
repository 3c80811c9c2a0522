"""`toprung init`."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.cli.cli_help import run

from toprung.cli.starter.propose import goal_of, pick_metric, sweep_name
from toprung.cli.starter.scan import scan
from toprung.tuning.spec import SweepSpec, parse_spec

TRAIN = """
from ray import tune

def evaluate(model):
    return {"val_loss": 1.0, "accuracy": 0.5}

def build(config):
    if config["optimizer"] == "rmsprop":
        return 1
    return config["model"]["hidden"], config["model"].get("dropout", 0.1)

def train(config):
    for epoch in range(config["epochs"]):
        metrics = {"train_loss": config["lr"] * config.get("scale", 2), **evaluate(build(config))}
        tune.report(metrics)
    config.get("amp", True), config["mystery"]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "My Project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def written(path: str = "sweep.yaml") -> SweepSpec:
    return parse_spec(Path(path).read_text())


def test_a_training_file_becomes_a_spec(project: Path) -> None:
    (project / "train.py").write_text(TRAIN)
    done = run("init")
    assert done.code == 0, done.err
    spec = written()
    assert (spec.name, spec.trainable, spec.code) == ("my-project", "train:train", ".")
    assert (spec.metric.name, spec.metric.goal) == ("val_loss", "minimize")
    varied = {parameter.name for parameter in spec.space.parameters}
    assert varied == {"optimizer", "lr", "amp", "model/hidden", "model/dropout"}
    constants = spec.space.config(spec.space.sample(__import__("random").Random(0)))
    assert (constants["epochs"], constants["scale"], constants["mystery"]) == (27, 2, None)
    text = (project / "sweep.yaml").read_text()
    assert "choices: [sgd, adam, rmsprop]" in text
    assert "# fill in a value" in text


def test_the_reporting_function_is_found(project: Path) -> None:
    (project / "train.py").write_text(TRAIN.replace("def train(", "def train_digits("))
    assert run("init").code == 0
    assert written().trainable == "train:train_digits"


def test_a_class_trainable(project: Path) -> None:
    (project / "work.py").write_text(
        "class T:\n"
        "    def setup(self, config):\n        self.lr = config['lr']\n"
        "    def step(self):\n        return {'reward': self.config['gamma']}\n"
    )
    done = run("init", "--trainable", "work:T", "-o", "mine.yaml", "--json")
    assert done.json["trainable"] == "work:T"
    spec = written("mine.yaml")
    assert (spec.metric.name, spec.metric.goal) == ("reward", "maximize")
    assert {parameter.name for parameter in spec.space.parameters} == {"lr", "gamma"}


def test_without_a_training_file_there_is_an_example(project: Path) -> None:
    done = run("init")
    assert "There is no train.py here" in done.out
    assert written().code is None


def test_a_file_is_not_overwritten_without_force(project: Path) -> None:
    (project / "sweep.yaml").write_text("mine")
    done = run("init")
    assert (done.code, "sweep.yaml exists" in done.err) == (5, True)
    assert (project / "sweep.yaml").read_text() == "mine"
    assert run("init", "--force").code == 0
    assert written().trainable == "train:train"


@pytest.mark.parametrize("trainable", ["train", "train:", "tr-ain:f", ":f"])
def test_a_wrong_trainable_is_refused(project: Path, trainable: str) -> None:
    done = run("init", "--trainable", trainable)
    assert (done.code, "--trainable" in done.err) == (2, True)


def test_broken_python_is_told_with_its_line(project: Path) -> None:
    (project / "train.py").write_text("x = 1\ndef f(:\n")
    done = run("init")
    assert (done.code, "train.py, line 2" in done.err) == (2, True)


def test_a_function_that_the_file_does_not_define_is_refused(project: Path) -> None:
    (project / "train.py").write_text("from ray import tune\ndef fit(config):\n    tune.report({'loss': 1})\n")
    done = run("init", "--trainable", "train:nope")
    assert done.code == 2
    assert "train.py defines no nope; it has fit" in done.err
    assert not (project / "sweep.yaml").exists()


def test_functions_that_call_each_other_end() -> None:
    source = "def a():\n    return b()\ndef b():\n    return a()\ndef train(config):\n    tune.report(a())\n"
    assert scan(source).metrics == []


@settings(deadline=None)
@given(st.text(max_size=80))
def test_any_folder_gives_a_valid_name(folder: str) -> None:
    spec = {"name": sweep_name(folder), "metric": "{name: x, goal: minimize}"}
    text = f"name: '{spec['name']}'\ntrainable: a:b\nmetric: {{name: x, goal: minimize}}\n"
    text += "parameters: {lr: {type: float, low: 0, high: 1}}\nbudget: {trials: 1}\n"
    assert parse_spec(text).name == spec["name"]


@pytest.mark.parametrize(
    ("names", "picked", "goal"),
    [
        (["train_loss", "accuracy", "val_loss"], "val_loss", "minimize"),
        (["train_loss", "accuracy"], "accuracy", "maximize"),
        (["loss", "accuracy"], "loss", "minimize"),
        ([], "val_loss", "minimize"),
    ],
)
def test_the_metric_that_counts(names: list[str], picked: str, goal: str) -> None:
    assert (pick_metric(names), goal_of(picked)) == (picked, goal)
