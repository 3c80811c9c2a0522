"""Sweeps as Optuna's studies, over real HTTP, seen by Optuna's own eyes."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna import visualization
from optuna.trial import TrialState as State
from tests.unit.cli.cli_served import Served, new_sweep, result, trial
from tests.unit.cli.conftest import serving

import toprung.optuna
from toprung.errors import Conflict
from toprung.tuning import studies
from toprung.tuning.frozen import distributions
from toprung.tuning.records import Batch, Sweep, SweepState
from toprung.tuning.spec import spec_from
from toprung.tuning.studies import SweepStorage


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    monkeypatch.setattr(studies, "FRESH_S", 0.0)
    with serving(tmp_path / "home", monkeypatch, auth=False) as found:
        yield found


@pytest.fixture
def storage(served: Served) -> Iterator[SweepStorage]:
    made = toprung.optuna.storage(served.url)
    yield made
    made.remove_session()


def large(served: Served, count: int) -> Sweep:
    sweep = new_sweep(served.store, "large")
    served.store.set_sweep_state(sweep.id, SweepState.RUNNING)
    trials, results = [], []
    for number in range(count):
        value = 1 / (1 + number % 37) + number / 10_000
        state = "completed" if number % 3 == 0 else "pruned"
        trials.append(trial(sweep, number, state, step=3, value=value, best_step=3, ended_at=sweep.created_at))
        results += [result(number, step, value + (3 - step) / 10) for step in (1, 2, 3)]
    served.store.write(Batch(sweep_id=sweep.id, trials=trials, results=results))
    return sweep


def test_a_sweep_is_a_study(served: Served, storage: SweepStorage) -> None:
    study = optuna.load_study(study_name="digits-cnn", storage=storage)
    assert study.direction == optuna.study.StudyDirection.MINIMIZE
    assert [t.state for t in study.trials] == [State.COMPLETE, State.PRUNED, State.FAIL]
    best = study.best_trial
    assert (best.number, best.value, best.params["optimizer"]) == (0, 0.083, "sgd")
    assert best.intermediate_values == {1: 0.35, 3: 0.2, 27: 0.083}
    assert best.distributions["lr"] == optuna.distributions.FloatDistribution(1e-4, 1e-1, log=True)
    assert best.distributions["batch_size"] == optuna.distributions.CategoricalDistribution((16, 32, 64, 128))
    assert best.user_attrs["metrics/accuracy"] == 0.917
    assert study.trials[1].user_attrs["reason"] == "stopped at rung 1: 0.41, cutoff 0.35, rank 2 of 2"
    assert study.trials[1].value == 0.41
    assert study.trials[2].user_attrs["failure"] == "ValueError: bad shapes"
    assert study.trials[0].duration is not None
    assert study.trials[0].duration.total_seconds() == 180
    assert study.user_attrs["state"] == "succeeded"
    assert optuna.load_study(study_name=served.done.id, storage=storage).trials == study.trials


def test_optuna_itself_is_content_with_it(served: Served, storage: SweepStorage) -> None:
    large(served, 60)
    study = optuna.load_study(study_name="large", storage=storage)
    frame = study.trials_dataframe()
    assert list(frame["number"]) == list(range(60))
    assert {"value", "params_lr", "user_attrs_attempt", "state"} <= set(frame.columns)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its experimental plots
        for name in (
            *("plot_optimization_history", "plot_intermediate_values", "plot_parallel_coordinate", "plot_slice"),
            *("plot_param_importances", "plot_contour", "plot_edf", "plot_rank", "plot_timeline"),
        ):
            figure = getattr(visualization, name)(study)
            assert figure.data, name
        assert set(optuna.importance.get_param_importances(study)) == {"lr", "batch_size", "optimizer"}
    for found in study.trials:
        found._validate()  # what Optuna asks of a trial that is added to a study


def test_all_studies_are_listed_and_names_are_unique(served: Served, storage: SweepStorage) -> None:
    older = served.done
    new_sweep(served.store, older.name)
    names = optuna.get_all_study_names(storage)
    assert len(set(names)) == len(names) == 4
    assert f"digits-cnn ({older.id})" in names
    assert len(optuna.load_study(study_name=f"digits-cnn ({older.id})", storage=storage).trials) == 3
    assert optuna.load_study(study_name="digits-cnn", storage=storage).trials == []


def test_it_follows_a_sweep_that_runs(served: Served, storage: SweepStorage) -> None:
    sweep = served.running
    study = optuna.load_study(study_name="still-going", storage=storage)
    assert [(t.state, t.value) for t in study.trials] == [(State.RUNNING, None)]
    now = trial(sweep, 0, "running", step=1, value=0.5, best_step=1)
    served.store.write(Batch(sweep_id=sweep.id, trials=[now, trial(sweep, 1, "pending")], results=[result(0, 1, 0.5)]))
    assert [t.state for t in study.trials] == [State.RUNNING, State.WAITING]
    assert study.trials[0].intermediate_values == {1: 0.5}
    served.store.write(Batch(sweep_id=sweep.id, trials=[trial(sweep, 0, "cancelled", step=1, value=0.5, best_step=1)]))
    assert (study.trials[0].state, study.trials[0].value) == (State.PRUNED, 0.5)


def test_more_trials_than_a_page_holds(served: Served, storage: SweepStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep = large(served, 2_100)
    study = optuna.load_study(study_name="large", storage=storage)
    assert [t.number for t in study.trials] == list(range(2_100))
    asked: list[Any] = []
    source: Any = storage._source
    trials = source.trials

    def counted(*args: Any) -> Any:
        asked.append(args)
        return trials(*args)

    monkeypatch.setattr(source, "trials", counted)
    served.store.write(Batch(sweep_id=sweep.id, trials=[trial(sweep, 2_100, "running")]))
    assert len(study.trials) == 2_101
    assert len(asked) == 1  # the last page alone

    bounded = SweepStorage(source, max_trials=1_500, max_values=100)
    study = optuna.load_study(study_name="large", storage=bounded)
    assert len(study.trials) == 1_500
    assert study.user_attrs["shown"] == "the first 1,500 of 2,101 trials"


@pytest.mark.parametrize(
    "write",
    [
        lambda study: study.ask(),
        lambda study: study.enqueue_trial({"lr": 0.1}),
        lambda study: study.set_user_attr("a", 1),
        lambda study: study.optimize(lambda _: 0.5, n_trials=1),
        lambda study: study.add_trial(optuna.create_trial(value=1.0)),
        lambda study: optuna.delete_study(study_name="digits-cnn", storage=study._storage),
        lambda study: optuna.create_study(study_name="other", storage=study._storage),
    ],
)
def test_it_is_not_written(storage: SweepStorage, write: Any) -> None:
    study = optuna.load_study(study_name="digits-cnn", storage=storage)
    with pytest.raises(Conflict, match="toprung enqueue"):
        write(study)


def test_what_is_not_there(storage: SweepStorage) -> None:
    with pytest.raises(KeyError):
        optuna.load_study(study_name="nothing", storage=storage)
    with pytest.raises(KeyError):
        storage.get_all_trials(5)
    study_id = storage.get_study_id_from_name("digits-cnn")
    with pytest.raises(KeyError):
        storage.get_trial_id_from_study_id_trial_number(study_id, 99)


def test_steps_and_logarithms() -> None:
    spec = spec_from(
        {
            "trainable": "train:train",
            "metric": {"name": "x", "goal": "maximize"},
            "parameters": {
                "a": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.3},
                "b": {"type": "int", "low": 1, "high": 64, "log": True},
                "c": {"type": "int", "low": 0, "high": 10, "step": 5},
                "d": {"type": "categorical", "choices": [None, True, "x", 2.5]},
            },
            "budget": {"trials": 3},
        }
    )
    found = distributions(spec.space)
    assert found["a"] == optuna.distributions.FloatDistribution(0.0, 0.9, step=0.3)
    assert found["b"] == optuna.distributions.IntDistribution(1, 64, log=True)
    assert found["c"] == optuna.distributions.IntDistribution(0, 10, step=5)
    assert found["d"].choices == (None, True, "x", 2.5)
