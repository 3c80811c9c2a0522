"""What a sweep learns of earlier ones: only what is known there, at the steps where it is known."""

from __future__ import annotations

import pickle
import statistics
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toprung.tuning.plan import compared_at
from toprung.tuning.prior import PriorSweep, PriorTrial, learn, steps_of_interest
from toprung.tuning.records import TrialState
from toprung.tuning.search import Params, Search
from toprung.tuning.search.history import History
from toprung.tuning.spec import SweepSpec, spec_from

LINE: dict[str, Any] = {"x": {"type": "float", "low": 0.0, "high": 1.0}}
ASHA: dict[str, Any] = {"type": "asha", "max_t": 9}
FINITE: dict[str, Any] = {"a": {"type": "int", "low": 1, "high": 4}}


def spec(parameters: dict[str, Any] = LINE, algorithm: str = "tpe", points: Any = (), **changes: Any) -> SweepSpec:
    return spec_from(
        {
            "trainable": "train:train",
            "metric": {"name": "loss", "goal": "minimize"},
            "parameters": parameters,
            "search": {"algorithm": algorithm, "seed": 0, "points": list(points)},
            "budget": {"trials": 10},
            **changes,
        }
    )


def trial(value: float | None = 0.5, step: int = 9, state: str = "completed", **fields: Any) -> PriorTrial:
    """`value` at each step up to `step`."""
    params = fields.get("params", {"x": 0.5})
    plain: dict[str, Any] = {
        "state": state,
        "infeasible": state == "failed",
        "params": params,
        "config": params,
        "step": step,
        "value": value,
        "best_step": step,
        "values": {s: value for s in (1, 3, 9, 27) if value is not None and s <= step},
    }
    return PriorTrial.model_validate({**plain, **fields})


def at(x: float, loss: float | None = None, step: int = 9, state: str = "completed") -> PriorTrial:
    return trial(x if loss is None else loss, step, state, params={"x": x})


class Learned(Search):
    """Remembers what it was told."""

    def __init__(self, new: SweepSpec) -> None:
        super().__init__(new.space, new.metric.goal, new.search, compared_at(new.scheduler))
        self.told: list[tuple[dict[int, float], float | None, bool]] = []

    def learn(
        self, params: Params, values: Mapping[int, float], *, final: float | None = None, failed: bool = False
    ) -> None:
        self.told.append((dict(values), final, failed))
        super().learn(params, values, final=final, failed=failed)


def taught(new: SweepSpec, old: SweepSpec, *trials: PriorTrial) -> tuple[Learned, str]:
    search = Learned(new)
    return search, learn(search, new, [PriorSweep(name="old", spec=old, trials=list(trials))])


def test_the_search_begins_where_the_earlier_sweep_ended() -> None:
    """No random start: the first proposals are near the best known, as they would not be without the prior."""
    known = [at(x / 40, abs(x / 40 - 0.7)) for x in range(41)]
    search, told = taught(spec(), spec(), *known)
    alone = Search(spec().space, "minimize", spec().search)

    def distance(engine: Search) -> float:
        asked = [engine.ask(number) for number in range(10)]
        return float(statistics.median(abs(params["x"] - 0.7) for params in asked if params is not None))

    assert told == "the search begins with 41 of the 41 trials of old (search.prior)"
    assert distance(search) < 0.1 < distance(alone)


def test_earlier_trials_count_for_the_random_start() -> None:
    """With nine of them the first proposal is drawn at random, as without, and the second is the model's."""
    alone = Search(spec().space, "minimize", spec().search)
    search, _ = taught(spec(), spec(), *[at(x / 9, abs(x / 9 - 0.7)) for x in range(9)])

    assert search.ask(0) == alone.ask(0)
    assert search.ask(1) != alone.ask(1)


@pytest.mark.parametrize(
    ("old", "one", "expected"),
    [
        # stopped at a rung, still running, cancelled: what it reached counts
        (ASHA, trial(0.5, 3, "pruned"), ({1: 0.5, 3: 0.5}, None, False)),
        (ASHA, trial(0.5, 5, "running"), ({1: 0.5, 3: 0.5}, None, False)),
        (ASHA, trial(0.5, 5, "cancelled"), ({1: 0.5, 3: 0.5}, None, False)),
        (ASHA, trial(0.5, 9), ({1: 0.5, 3: 0.5, 9: 0.5}, None, False)),
        # its function returned after four steps: the best is final
        (ASHA, trial(0.4, 4, values={1: 0.7, 3: 0.6}), ({1: 0.7, 3: 0.6}, 0.4, False)),
        # the earlier sweep's full training is none here: nothing is known of the top
        ({"type": "asha", "max_t": 3}, trial(0.4, 3), ({1: 0.4, 3: 0.4}, None, False)),
        ({"type": "none", "max_t": 4}, trial(0.4, 4, values={1: 0.7, 3: 0.6}), ({1: 0.7, 3: 0.6}, None, False)),
        # a longer one counts as far as this one goes
        ({"type": "asha", "max_t": 27}, trial(0.4, 27), ({1: 0.4, 3: 0.4, 9: 0.4}, None, False)),
        ({"type": "asha", "max_t": 27}, trial(0.5, 20, "failed"), ({1: 0.5, 3: 0.5, 9: 0.5}, None, False)),
        (ASHA, trial(0.5, 1, "failed"), ({1: 0.5}, None, True)),
        (ASHA, trial(None, 0, "failed"), ({}, None, True)),
        # its machine was lost: that says nothing, its results do
        (ASHA, trial(0.5, 3, "failed", infeasible=False), ({1: 0.5, 3: 0.5}, None, False)),
    ],
)
def test_results_count_at_their_own_steps(old: dict[str, Any], one: PriorTrial, expected: object) -> None:
    search, _ = taught(spec(scheduler=ASHA), spec(scheduler=old), one)

    assert search.told == [expected]


@pytest.mark.parametrize(
    ("new", "old", "one", "expected"),
    [
        ({}, {}, trial(0.4, 5), 0.4),
        ({}, {}, trial(0.4, 5, "cancelled"), None),
        ({}, {"max_t": 5}, trial(0.4, 5), None),  # was stopped there: who knows when it would have ended
        ({"max_t": 5}, {"max_t": 5}, trial(0.4, 5), 0.4),
        ({"max_t": 9}, {"max_t": 5}, trial(0.4, 5), None),
        ({"max_t": 9}, {}, trial(0.4, 5), 0.4),
        ({"max_t": 5}, {}, trial(0.4, 8, best_step=4), 0.4),
        ({"max_t": 5}, {}, trial(0.4, 8, best_step=7, values={5: 0.6}), 0.6),
        ({"max_t": 5}, {}, trial(0.4, 8, "running", best_step=4), 0.4),
        ({}, {}, trial(None, 5, best_step=None), None),
    ],
)
def test_without_rungs_full_trainings_count(
    new: dict[str, Any], old: dict[str, Any], one: PriorTrial, expected: float | None
) -> None:
    search, told = taught(spec(scheduler={"type": "none", **new}), spec(scheduler={"type": "none", **old}), one)

    assert search.told == ([] if expected is None else [({}, expected, False)])
    assert ("no result at a step at which this sweep compares trials" in told) == (expected is None)


def test_a_trial_that_the_target_ended_is_not_final() -> None:
    old = spec(scheduler=ASHA, metric={"name": "loss", "goal": "minimize", "target": 0.5})

    search, _ = taught(spec(scheduler=ASHA), old, trial(0.4, 3))

    assert search.told == [({1: 0.4, 3: 0.4}, None, False)]


def test_the_median_rule_asks_for_few_steps() -> None:
    assert steps_of_interest(spec(scheduler={"type": "median", "max_t": 1000})) == (
        *(2**k for k in range(10)),
        1000,
    )
    assert steps_of_interest(spec(scheduler={"type": "none", "max_t": 7})) == (7,)
    assert steps_of_interest(spec()) == ()


NEW: dict[str, Any] = {
    "lr": {"type": "float", "low": 0.01, "high": 1.0},
    "optimizer": {"type": "categorical", "choices": ["sgd", "adam"]},
    "momentum": {"type": "float", "low": 0, "high": 1, "when": {"optimizer": "sgd"}},
    "net": {"l1": {"type": "int", "low": 1, "high": 8}, "l2": {"type": "int", "low": 1, "high": 8}, "act": "relu"},
}
SGD: dict[str, Any] = {"lr": 0.5, "optimizer": "sgd", "momentum": 0.5, "net/l1": 4, "net/l2": 2}
ADAM: dict[str, Any] = {"lr": 0.5, "optimizer": "adam", "net/l1": 4, "net/l2": 2}


@pytest.mark.parametrize(
    ("params", "constants", "reason"),
    [
        (SGD, {}, None),
        (ADAM, {}, None),
        ({**ADAM, "momentum": 0.5}, {}, None),  # was there without the condition
        ({**ADAM, "lr": 1}, {}, None),
        ({"lr": 0.5}, {"optimizer": "adam", "net": {"l1": 4, "l2": 2}}, None),  # were constants
        ({**ADAM, "net/act": "relu"}, {}, None),  # was varied, and has the value that it has here
        ({**ADAM, "net/act": "tanh"}, {}, "net/act is a constant here, with another value"),
        ({**SGD, "momentum": 2.0}, {}, "momentum has a value that it cannot have here"),
        ({**ADAM, "lr": 0.001}, {}, "lr has a value that it cannot have here"),
        ({**ADAM, "optimizer": "adagrad"}, {}, "optimizer has a value that it cannot have here"),
        ({**ADAM, "net/l1": 4.5}, {}, "net/l1 has a value that it cannot have here"),
        ({**ADAM, "optimizer": "sgd"}, {}, "momentum is missing"),
        ({"lr": 0.5}, {}, "optimizer is missing"),
        ({**ADAM, "depth": 3}, {}, "depth was varied there and is not a parameter here"),
        (ADAM, {"epochs": 3}, None),
        ({**ADAM, "net/l1": 1}, {}, "a constraint is not met"),
    ],
)
def test_parameters_are_matched_by_name(params: dict[str, Any], constants: dict[str, Any], reason: str | None) -> None:
    new = spec(NEW, constraints=["net.l2 <= net.l1"])

    search, told = taught(new, spec(), trial(params=params, config={**constants, **params}))

    assert len(search.told) == (reason is None)
    if reason is None:
        assert told == "the search begins with 1 of the 1 trials of old (search.prior)"
    else:
        assert told == f"the search begins with 0 of the 1 trials of old (search.prior); 1 left out: {reason}"


def test_reasons_are_counted_and_all_sweeps_named() -> None:
    new = spec()
    search = Search(new.space, new.metric.goal, new.search)
    outside, unknown = at(2.0), trial(0.5, 3, "pruned")
    priors = [
        PriorSweep(name="one", spec=spec(), trials=[outside, unknown, outside]),
        PriorSweep(name="two", spec=spec(), trials=[trial()]),
    ]

    assert learn(search, new, priors) == (
        "the search begins with 1 of the 4 trials of one, two (search.prior); "
        "2 left out: x has a value that it cannot have here; "
        "1 left out: no result at a step at which this sweep compares trials"
    )


# -- in a finite space


@pytest.mark.parametrize("algorithm", ["auto", "tpe", "random", "qmc", "cmaes", "gp", "grid"])
def test_what_is_fully_known_is_not_tried_again_unless_it_is_a_point(algorithm: str) -> None:
    new = spec(FINITE, algorithm, points=[{"a": 3}], scheduler=ASHA)
    known = [trial(0.1, 9, params={"a": a}) for a in (1, 3)]
    stopped = trial(0.9, 3, "pruned", params={"a": 2})

    search, told = taught(new, spec(scheduler=ASHA), *known, stopped)
    asked = [search.ask(number) for number in range(4)]

    assert asked[0] == {"a": 3}
    assert sorted(params["a"] for params in asked[1:3] if params is not None) == [2, 4]
    assert asked[3] is None
    assert "; 1 of the 4 configurations not tried again: the result is known" in told
    assert (f"; {algorithm} does not learn from them" in told) == (algorithm not in ("auto", "tpe", "gp"))


def test_a_region_that_failed_there_is_left_alone() -> None:
    known = [at(x / 40, state="failed" if x > 16 else "completed") for x in range(41)]
    search, _ = taught(spec(), spec(), *known)

    asked = [search.ask(number) for number in range(20)]

    assert sum(params["x"] > 0.5 for params in asked if params is not None) < 5


def test_numbers_of_earlier_trials_are_not_those_of_this_sweep() -> None:
    """What is told of trial 0 here changes nothing of the first one there."""
    known = [at(x / 40, abs(x / 40 - 0.7)) for x in range(41)]
    one, _ = taught(spec(), spec(), *known)
    other, _ = taught(spec(), spec(), *known)

    other.tell(0, TrialState.FAILED)
    other.observe(0, 9, -1.0)

    assert [one.ask(number) for number in range(5)] == [other.ask(number) for number in range(5)]


def test_a_search_that_learned_can_be_pickled() -> None:
    search, _ = taught(spec(), spec(), *[at(x / 40) for x in range(41)])

    again = pickle.loads(pickle.dumps(search))

    assert again.ask(0) == search.ask(0)


@given(st.lists(st.tuples(st.integers(-50, 50), st.floats(0, 1), st.booleans()), unique_by=lambda t: t[0]))
def test_failed_ones_are_never_comparable_whatever_their_number(trials: list[tuple[int, float, bool]]) -> None:
    history = History((1, 9))
    for number, score, failed in trials:
        history.observe(number, 1, score)
        if failed:
            history.fail(number)

    finite = [number for number, _, failed in trials if not failed]
    assert history.num_finite(1) == len(finite)
    assert history.num_finite(9) == 0
