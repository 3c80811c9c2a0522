"""What a trial ran with, and running it again."""

from __future__ import annotations

import platform

import pytest

from tests.integration.conftest import WAIT_S, Service, Submit
from tests.unit.cli.cli_help import run
from toprung.errors import Conflict
from toprung.tuning.records import TrialState
from toprung.tuning.reproduction import Outcome, Reproduction, changed


def test_a_seeded_trial_is_reproduced(submit: Submit) -> None:
    sweep = submit("draws")
    trial = sweep.trial(1)
    ran_in = trial.environment()
    assert ran_in.seed == trial.record.seed is not None
    assert ran_in.environment is not None
    assert (ran_in.environment.python, ran_in.environment.code) == (platform.python_version(), sweep.record.spec.code)
    assert {"numpy", "ray", "pydantic"} <= ran_in.environment.packages.keys()
    # the same surroundings, other numbers
    first = sweep.trial(0).environment()
    assert first.environment is not None
    assert list(changed(first.environment, ran_in.environment)) == []
    assert first.seed != ran_in.seed

    found = trial.reproduce(timeout_s=WAIT_S, progress=False)
    assert (found.outcome, found.num_steps, found.first_difference, found.changes) == (Outcome.IDENTICAL, 3, None, ())


def test_a_trial_that_is_not_seeded_differs(submit: Submit, service: Service) -> None:
    sweep = submit("tells_the_time", budget={"trials": 1})
    done = run("reproduce", sweep.id, "0", "--tolerance", "1e-4", "--url", service.url, "--json")
    found = Reproduction.model_validate(done.json)
    assert (done.code, found.outcome) == (1, Outcome.DIFFERS)
    assert found.first_difference is not None
    assert found.first_difference.step == 2
    assert found.first_difference.stored != found.first_difference.again


def test_a_trial_that_failed_at_once_tells_what_it_ran_with(submit: Submit) -> None:
    low = {"x": {"type": "float", "low": 0.0, "high": 0.4}}
    trial = submit("raises_for_some", budget={"trials": 1}, parameters=low).trial(0)
    assert trial.state is TrialState.FAILED
    assert trial.environment().environment is not None
    with pytest.raises(Conflict, match="has reported nothing"):
        trial.reproduce(timeout_s=WAIT_S, progress=False)
