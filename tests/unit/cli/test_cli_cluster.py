"""`toprung cluster`: what is printed, and the exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.cli.cli_help import run

FILE = str(Path(__file__).resolve().parents[3] / "cluster.yaml")


def test_check_prints_each_finding_with_its_remedy() -> None:
    done = run("cluster", "check", FILE)

    assert done.code == 2
    assert "error  /head_setup_commands/1\n  <bucket> is not filled in\n  → the head of the file" in done.out
    assert done.out.splitlines()[-1].startswith(f"{FILE}: ")


def test_check_as_json() -> None:
    findings = json.loads(run("cluster", "check", FILE, "--json").out)["findings"]

    assert {"severity", "code", "place", "message", "remedy"} == set(findings[0])
    assert "placeholder" in {finding["code"] for finding in findings}


@pytest.mark.parametrize("command", ["check", "plan"])
def test_a_missing_file_is_one_line(command: str, tmp_path: Path) -> None:
    done = run("cluster", command, str(tmp_path / "none.yaml"))

    assert done.code == 2
    assert done.err == f"{tmp_path / 'none.yaml'}: No such file or directory\n"


def test_plan_takes_a_sweeps_demand(tmp_path: Path) -> None:
    spec = tmp_path / "sweep.yaml"
    spec.write_text(
        "trainable: train:train\nmetric: {name: loss, goal: minimize}\n"
        "parameters: {x: {type: float, low: 0, high: 1}}\n"
        "resources: {gpu: 4}\nconcurrency: 2\nbudget: {trials: 50}\n"
    )

    done = run("cluster", "plan", FILE, "--sweep", str(spec), "--json")

    found = json.loads(done.out)
    assert [(one["node_type"], one["count"]) for one in found["machines"]] == [("gpu4-spot", 2)]
    assert found["trials_waiting"] == 0


def test_plan_says_which_trials_would_wait() -> None:
    done = run("cluster", "plan", FILE, "--gpu", "16")

    assert done.code == 0
    assert "1 trial would wait" in done.out


def test_plan_of_a_broken_file_points_to_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("cluster_name: x\nmax_worker: 1\nprovider: {type: local}\n")

    done = run("cluster", "plan", "mine.yaml")

    assert done.code == 2
    assert " ".join(done.err.split()) == (
        "mine.yaml: /max_worker: unknown field (did you mean max_workers?). "
        "`toprung cluster check mine.yaml` says all that is wrong."
    )


def test_plan_of_files_that_are_not_utf8_is_one_line(tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_bytes(b"name: \xff")

    assert "is not UTF-8" in run("cluster", "plan", str(other)).err
    assert run("cluster", "plan", FILE, "--sweep", str(other)).err == f"{other} is not a text file in UTF-8.\n"


def test_plan_names_a_price_that_is_none(tmp_path: Path) -> None:
    priced = tmp_path / "priced.yaml"
    text = Path(FILE).read_text(encoding="utf-8")
    at = "labels: {ray.io/accelerator-type: A10G, ray.io/market-type: spot"
    priced.write_text(text.replace(at, f"{at}, toprung/usd-per-hour: about-1.21", 1), encoding="utf-8")

    said = " ".join(run("cluster", "plan", str(priced)).err.split())
    assert '/available_node_types/gpu1-spot/labels/toprung~1usd-per-hour: "about-1.21" is no price (US dollars' in said
