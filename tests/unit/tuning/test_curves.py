"""The learning curves of virtual trials."""

from __future__ import annotations

import pickle
import random
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toprung.errors import InvalidInput
from toprung.tuning.simulate.curves import Function, PowerLaw
from toprung.tuning.simulate.recorded import Recorded, Recording, read_csv
from toprung.tuning.spec import SweepSpec, spec_from


def spec(**changes: Any) -> SweepSpec:
    return spec_from(
        {
            "trainable": "train:train",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {
                "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
                "layers": {"type": "int", "low": 1, "high": 8},
                "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
                "momentum": {"type": "float", "low": 0.0, "high": 1.0, "when": {"optimizer": "sgd"}},
            },
            "scheduler": {"type": "asha", "max_t": 9},
            "budget": {"trials": 40},
            **changes,
        }
    )


def samples(count: int) -> list[dict[str, Any]]:
    rng = random.Random(1)
    return [spec().space.sample(rng) for _ in range(count)]


# ---- made up


def test_made_up_losses_fall_and_end_near_their_places() -> None:
    curve = PowerLaw(noise_sd=0.0).curve(spec(), 0)
    curves = np.array([curve(i, params) for i, params in enumerate(samples(300))])

    assert curves.shape == (300, 9)
    assert (np.diff(curves, axis=1) <= 0).all()
    assert curves.min() >= 0
    assert curves.max() <= 1
    assert 0.3 < statistics.median(curves[:, -1]) < 0.7
    # early ranks tell something, and not all
    ranks = np.argsort(curves.argsort(axis=0), axis=0)
    assert 0.3 < np.corrcoef(ranks[:, 0], ranks[:, -1])[0, 1] < 0.95


def test_made_up_curves_are_a_function_of_seed_and_trial() -> None:
    params = samples(1)[0]
    curve, again, other = (PowerLaw().curve(spec(), seed) for seed in (0, 0, 1))

    assert (np.asarray(curve(3, params)) == again(3, params)).all()
    assert (np.asarray(curve(3, params)) != other(3, params)).all()
    assert (np.asarray(curve(3, params)) != curve(4, params)).all()  # the noise


def test_made_up_scores_rise_where_more_is_better() -> None:
    better = spec(metric={"name": "accuracy", "goal": "maximize"})
    params = samples(1)[0]

    assert PowerLaw().curve(better, 0)(0, params) == pytest.approx(
        1 - np.asarray(PowerLaw().curve(spec(), 0)(0, params))
    )


# ---- a function of the user's


def function(tmp_path: Path, body: str, name: str = "f") -> Function:
    module = f"curves_of_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(f"def f(number, params):\n    {body}\n")
    return Function(f"{module}:{name}", (str(tmp_path),))


def test_a_function_says_the_values(tmp_path: Path) -> None:
    found = pickle.loads(pickle.dumps(function(tmp_path, "return [number] * 20")))

    assert list(found.curve(spec(), 0)(7, {})) == [7] * 9


@pytest.mark.parametrize("body", ["return []", "return [float('nan')]", "return None", "return 1 / 0", "return ['a']"])
def test_a_function_that_says_nothing_usable_is_told_so(tmp_path: Path, body: str) -> None:
    curve = function(tmp_path, body).curve(spec(), 0)

    with pytest.raises(InvalidInput, match="curves_of_"):
        curve(0, {"lr": 0.1})


def test_a_function_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="has no attribute 'g'"):
        function(tmp_path, "return [1]", "g").load()
    with pytest.raises(InvalidInput, match="No module named 'not_there'"):
        Function("not_there:f").load()


# ---- recorded

GOOD = {"lr": 0.01, "layers": 4, "optimizer": "adam"}
BAD = {"lr": 1.0, "layers": 4, "optimizer": "sgd", "momentum": 0.5}


def test_a_recorded_configuration_follows_its_own_curve() -> None:
    values = tuple(1 / step for step in range(1, 10))
    recorded = Recorded.of([Recording(GOOD, tuple(range(1, 10)), values), Recording(BAD, (1,), (2.0,))], spec())
    curve = recorded.curve(spec(), 0)

    assert list(curve(0, GOOD)) == pytest.approx(values)
    assert list(curve(0, {**GOOD, "lr": 0.011})) == pytest.approx(values)
    assert curve(0, BAD)[0] == 2.0


def test_a_stopped_curve_goes_on_like_a_longer_one_but_not_beyond_the_best() -> None:
    long = Recording(GOOD, (1, 3, 9), (1.0, 0.5, 0.2))
    worse, better = Recording(BAD, (1, 3), (2.0, 1.5)), Recording({**GOOD, "layers": 8}, (1, 3), (0.9, 0.3))
    curve = Recorded.of([long, worse, better], spec()).curve(spec(), 0)

    assert list(curve(0, GOOD))[1] == 0.75  # between two reports on the line
    assert list(curve(0, BAD))[-1] == pytest.approx(1.5 - 0.3)
    assert list(curve(0, better.config))[-1] == pytest.approx(0.2)
    assert all(len(curve(0, params)) == 9 for params in (GOOD, BAD))


def test_a_complete_curve_stays_as_it_is_and_the_longest_stays_flat() -> None:
    done, long = Recording(GOOD, (1, 2), (1.0, 0.4), complete=True), Recording(BAD, (1, 5), (2.0, 1.0))
    curve = Recorded.of([done, long], spec()).curve(spec(), 0)

    assert list(curve(0, GOOD)) == [1.0, 0.4]
    assert list(curve(0, BAD)[4:]) == [1.0] * 5


def test_configurations_outside_the_spec_are_left_out() -> None:
    inside = Recording({**GOOD, "layers": "4", "batch": 3}, (1,), (1.0,))
    outside = [
        Recording({**GOOD, "lr": 2.0}, (1,), (1.0,)),
        Recording({**GOOD, "optimizer": "lion"}, (1,), (1.0,)),
        Recording({"lr": 0.1, "optimizer": "adam"}, (1,), (1.0,)),
        Recording({**GOOD, "lr": "high"}, (1,), (1.0,)),
        Recording(GOOD, (), ()),
    ]

    assert [found.config for found in Recorded.of([inside, *outside], spec()).recordings] == [GOOD]
    with pytest.raises(InvalidInput, match="none of the recorded trials"):
        Recorded.of(outside, spec())


def test_step_times_are_those_of_the_nearest_or_the_usual() -> None:
    timed = [Recording(GOOD, (1,), (1.0,), step_s=3.0), Recording(BAD, (1,), (1.0,))]
    step_s = Recorded.of(timed, spec()).step_s(spec())

    assert step_s is not None
    assert (step_s(GOOD), step_s(BAD)) == (3.0, 3.0)
    assert Recorded.of(timed[1:], spec()).step_s(spec()) is None


CSV = """\
trial,step,loss,lr,layers,optimizer,momentum,time_total_s
0,2,0.5,0.01,4,adam,,4
0,1,1.0,0.01,4,adam,,2
1,1,2.0,1.0,4,sgd,0.5,3
"""


def test_a_csv_file_is_read() -> None:
    recorded = Recorded.of(read_csv(CSV, spec()), spec())

    assert recorded.recordings == (
        Recording(GOOD, (1, 2), (1.0, 0.5), step_s=2.0),
        Recording(BAD, (1,), (2.0,), step_s=3.0),
    )


def test_names_of_ray_tune_will_do_and_so_will_no_trial() -> None:
    ray = CSV.replace("trial,step", "trial_id,training_iteration")
    for name in ("lr", "layers", "optimizer", "momentum"):
        ray = ray.replace(f",{name}", f",config/{name}", 1)
    without = "\n".join(line.partition(",")[2] for line in CSV.splitlines())

    for text in (ray, without, CSV.replace("loss", "value")):
        assert Recorded.of(read_csv(text, spec()), spec()) == Recorded.of(read_csv(CSV, spec()), spec())


def test_a_csv_file_that_does_not_fit_says_all_that_is_wrong() -> None:
    with pytest.raises(InvalidInput, match="no column loss, lr, momentum; it has trial, step, "):
        read_csv(CSV.replace("loss", "los").replace("lr", "rate").replace("momentum", "m"), spec())
    with pytest.raises(InvalidInput, match=r"line 2: step 'two' and loss '0.5'; line 4: step 0, the first step is 1"):
        read_csv(CSV.replace("0,2,", "0,two,").replace("1,1,2.0", "1,0,2.0"), spec())


def test_a_curve_ends_before_its_first_value_that_is_no_number() -> None:
    assert read_csv(CSV.replace("0.5,0.01", "nan,0.01"), spec())[0].values == (1.0,)
