"""The other systems of the benchmarks, as far as they are installed with Toprung: a sweep in virtual time."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest

from toprung.tuning.simulate import Report, simulate

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
OPTUNA = ("optuna hyperband", "optuna halving")


@pytest.fixture
def peers(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("peers")


def sweep(peers: Any, name: str, seed: int) -> list[Report]:
    problem = importlib.import_module("problems").load("curves-levy")  # has a conditional parameter
    strategy = peers.PEERS[name](problem, 3, 3, seed)
    reports = simulate(strategy, lambda n, params: problem.curve(params, n), workers=4, max_steps=6 * problem.max_t)
    return list(reports)


@pytest.mark.parametrize("name", OPTUNA)
def test_a_sweep_is_a_function_of_its_seed(peers: Any, name: str) -> None:
    assert sweep(peers, name, 1) == sweep(peers, name, 1) != sweep(peers, name, 2)


@pytest.mark.parametrize("name", OPTUNA)
def test_some_trials_stop_early_and_some_are_trained_to_the_end(peers: Any, name: str) -> None:
    last = {report.number: report.step for report in sweep(peers, name, 1)}
    assert max(last.values()) == 27
    assert min(last.values()) == 3


@pytest.mark.parametrize("name", OPTUNA)
def test_a_configuration_has_the_parameters_that_exist_in_it(peers: Any, name: str) -> None:
    for report in sweep(peers, name, 1):
        assert ("dropout" in report.params) == (report.params["depth"] == "deep")


def test_a_peer_that_can_not_run_here_says_why(peers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(peers.PEERS, "absent", peers.Peer("no_such_module", "Absent"))
    reasons = peers.available(["absent", *OPTUNA])
    assert "no_such_module" in reasons["absent"]
    assert [reasons[name] for name in OPTUNA] == [None, None]
