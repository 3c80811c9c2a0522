"""Rehearsed sweeps: what is counted agrees with what went on, and each budget ends them."""

from __future__ import annotations

import itertools
import pickle
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toprung.tuning.plan import forecast
from toprung.tuning.simulate import Curve
from toprung.tuning.simulate.curves import PowerLaw
from toprung.tuning.simulate.recorded import Recorded, Recording
from toprung.tuning.simulate.rehearse import Outcome, Rehearsal, rehearse, rehearse_all
from toprung.tuning.spec import SweepSpec, spec_from


def spec(mode: str = "stop", **changes: Any) -> SweepSpec:
    return spec_from(
        {
            "trainable": "train:train",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": {f"x{i}": {"type": "float", "low": 0.0, "high": 1.0} for i in range(2)},
            "search": {"algorithm": "random"},
            "scheduler": {"type": "asha", "max_t": 9, "mode": mode},
            "budget": {"trials": 40},
            **changes,
        }
    )


class Falling:
    """Real losses: the distance to x0 = 0.5, on top of 1 / step."""

    made_up = False

    def curve(self, spec: SweepSpec, seed: int) -> Curve:
        def curve(number: int, params: Mapping[str, Any]) -> list[float]:
            return [abs(params["x0"] - 0.5) + 1 / step for step in range(1, 10)]

        return curve

    def step_s(self, spec: SweepSpec) -> None:
        return None


def outcome(spec: SweepSpec, workers: int = 8, **options: Any) -> Outcome:
    return rehearse(Rehearsal(spec, options.pop("curves", PowerLaw()), workers, options.pop("seed", 0), **options))


@settings(max_examples=40, deadline=None)
@given(
    mode=st.sampled_from(["stop", "promote"]),
    workers=st.integers(1, 60),
    seed=st.integers(0, 100),
    step=st.sampled_from([0.5, 1.0, 60.0]),
    resume=st.sampled_from([0.0, 1.0, 7.5]),
)
def test_the_books_balance(mode: str, workers: int, seed: int, step: float, resume: float) -> None:
    told = outcome(spec(mode), workers, seed=seed, step=step, resume=resume)

    assert told.trials == 40
    # trials end and pause at rungs alone
    gained = [upper - lower for lower, upper in itertools.pairwise([0, *told.reached])]
    assert told.steps == sum(count * steps for count, steps in zip(told.reached.values(), gained, strict=True))
    assert list(told.reached.values()) == sorted(told.reached.values(), reverse=True)
    assert told.busy == pytest.approx(told.steps * step + (told.trials + told.resumes) * resume)
    assert 0 < told.utilisation <= 1 + 1e-9
    assert told.resumes <= told.pauses <= (0 if mode == "stop" else told.steps)
    assert told.best is not None
    assert told.best_at is not None
    assert 0 < told.best_at <= told.wall


def test_one_worker_is_never_idle() -> None:
    told = outcome(spec("promote"), workers=1, step=3.0, resume=2.0)

    assert told.utilisation == pytest.approx(1)
    assert told.speedup == pytest.approx(1)


def test_without_early_stopping_all_go_to_the_end() -> None:
    stopped = Rehearsal(spec(), PowerLaw(), 8, 0)
    told = rehearse(stopped.without_early_stopping())

    assert told.reached == {9: 40}
    assert told.steps == forecast(spec()).full_steps
    assert told.wall == 40 / 8 * 9
    assert rehearse(stopped).steps < told.steps


def test_the_same_seed_is_the_same_sweep() -> None:
    assert outcome(spec(), seed=1) == outcome(spec(), seed=1)
    assert outcome(spec(), seed=1).best != outcome(spec(), seed=2).best


@pytest.mark.parametrize("trials", [40, None])
def test_wall_time_ends_it(trials: int | None) -> None:
    limited = spec(budget={"trials": trials, "wall_time_s": 25})

    told = outcome(limited, step=10.0)

    # two whole steps of 8 workers; what they do after that is lost, but was paid for
    assert (told.wall, told.steps, told.busy) == (25, 16, 200)
    assert outcome(spec(), step=10.0, in_seconds=False).wall > 25


def test_gpu_hours_end_it() -> None:
    limited = spec(budget={"gpu_hours": 1.0}, resources={"gpu": 2})

    told = outcome(limited, workers=4, step=60.0)

    assert told.busy * 2 / 3600 == pytest.approx(1.0, abs=4 * 2 / 60)


def test_steps_end_it() -> None:
    assert outcome(spec(), max_steps=17).steps == 17


def test_a_target_ends_it_where_values_mean_something() -> None:
    aimed = spec(metric={"name": "loss", "goal": "minimize", "target": 0.6})

    assert outcome(aimed, curves=Falling()).steps < outcome(spec(), curves=Falling()).steps
    assert outcome(aimed) == outcome(spec())


def test_the_best_of_a_maximum_is_the_highest() -> None:
    highest = outcome(spec(metric={"name": "score", "goal": "maximize"}), curves=Falling())

    assert highest.best == pytest.approx(1.5, abs=0.1)


def test_recorded_times_are_taken_unless_others_are_given() -> None:
    recorded = Recorded((Recording({"x0": 0.5, "x1": 0.5}, (1, 2, 9), (1.0, 0.5, 0.1), step_s=4.0),))

    assert outcome(spec(), workers=1, curves=recorded, max_steps=10).wall == 40
    assert outcome(spec(), workers=1, curves=recorded, max_steps=10, step=1.0).wall == 10


def test_several_are_gone_through_in_order() -> None:
    several = [Rehearsal(spec(), PowerLaw(), workers, 0) for workers in (3, 1, 2)]

    assert [told.workers for told in rehearse_all(several)] == [3, 1, 2]


def test_a_rehearsal_can_be_sent_to_another_process() -> None:
    here = Rehearsal(spec(), PowerLaw(), 8, 3)

    assert rehearse(pickle.loads(pickle.dumps(here))) == rehearse(here)
