"""Sweeps that begin with what earlier ones found."""

from __future__ import annotations

import pytest

from tests.integration.conftest import Submit
from toprung import Client
from toprung.client import SweepHandle
from toprung.errors import InvalidSpec
from toprung.tuning.records import SweepState

GRID = {"x": {"type": "float", "low": 0.0, "high": 1.0, "step": 0.25}}


def warnings(sweep: SweepHandle) -> list[str]:
    return [event.data["message"] for event in sweep.events() if event.type == "warning"]


@pytest.mark.deep
def test_a_sweep_begins_where_earlier_ones_ended(submit: Submit, client: Client) -> None:
    """`good` is best at x = 1. Of the trials of a stopped sweep the search gets what they reached."""
    scheduler = {"type": "asha", "max_t": 9, "grace_period": 3}
    points = [{"x": x / 12} for x in range(12)]
    submit("good", name="first", scheduler=scheduler, search={"points": points}, budget={"trials": 12})
    submit(
        "good",
        name="wider",
        parameters={"x": {"type": "float", "low": 0.0, "high": 9.0}},
        search={"points": [{"x": 0.9}, {"x": 5.0}, {"x": 0.95}]},
        budget={"trials": 3},
    )

    second = submit(
        "good",
        name="second",
        scheduler=scheduler,
        search={"algorithm": "tpe", "seed": 4, "prior": ["first", "wider"]},
        budget={"trials": 5},
    )

    assert second.state is SweepState.SUCCEEDED, second.record.reason
    assert second.record.spec.search.prior == (client.sweep("first").id, client.sweep("wider").id)
    assert warnings(second) == [
        "the search begins with 14 of the 15 trials of first, wider (search.prior); "
        "1 left out: x has a value that it cannot have here"
    ]
    assert sum(trial.params["x"] > 0.5 for trial in second.trials()) >= 4, "no random start"


@pytest.mark.deep
def test_what_is_known_of_a_finite_space_is_not_tried_again(submit: Submit) -> None:
    submit("good", name="all-of-it", parameters=GRID, search={"algorithm": "grid"}, budget={"trials": 3})
    rest = submit(
        "good", name="rest", parameters=GRID, search={"algorithm": "grid", "prior": ["all-of-it"]}, budget={"trials": 9}
    )
    nothing = submit(
        "good",
        name="nothing",
        parameters=GRID,
        search={"algorithm": "random", "prior": ["all-of-it", "rest"]},
        budget={"trials": 9},
    )

    assert [trial.params["x"] for trial in rest.trials()] == [0.75, 1.0]
    assert (nothing.state, list(nothing.trials())) == (SweepState.SUCCEEDED, [])
    assert "; 5 of the 5 configurations not tried again: the result is known" in warnings(nothing)[0]


def test_a_sweep_that_is_not_there_or_has_another_goal(submit: Submit) -> None:
    submit("good", name="for-loss", budget={"trials": 1})

    with pytest.raises(InvalidSpec) as refused:
        submit("good", metric={"name": "loss", "goal": "maximize"}, search={"prior": ["nobody", "for-loss"]})

    found = [(problem.pointer, problem.code) for problem in refused.value.problems]
    assert found == [("/search/prior/0", "unknown_sweep"), ("/search/prior/1", "other_goal")]
