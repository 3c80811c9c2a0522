"""What `toprung reproduce` says of a trial that was run again; tests/integration/test_reproduce.py runs one."""

from __future__ import annotations

from typing import Any

from toprung.cli.explain import surroundings
from toprung.cli.reproduce import details, verdict
from toprung.tuning.records import RunEnvironment, TrialEnvironment
from toprung.tuning.reproduction import Change, Outcome, Reproduction, StepDifference
from toprung.tuning.spec import Git


def found(outcome: Outcome, **fields: Any) -> Reproduction:
    given = {"sweep_id": "swp_1", "number": 7, "again_id": "swp_2", "again_name": "digits-reproduce-7"}
    more = {"metric": "loss", "tolerance": 0.0, "num_steps": 9, "largest_difference": 0.0, "attempts": 1, "seed": 3}
    return Reproduction.model_validate({**given, **more, "outcome": outcome, **fields})


def said(reproduction: Reproduction) -> str:
    return "\n".join([verdict(reproduction), *details(reproduction)])


def test_identical() -> None:
    text = said(found(Outcome.IDENTICAL, changes=()))
    assert "identical, loss is the same bit for bit at 9 steps" in text
    assert "the surroundings are the same" in text
    assert "digits-reproduce-7 (swp_2), with seed 3" in text


def test_within_the_tolerance() -> None:
    first = StepDifference(step=2, stored=0.25, again=0.2500001)
    text = said(found(Outcome.WITHIN_TOLERANCE, tolerance=1e-3, largest_difference=1e-7, first_difference=first))
    assert "differs by at most 1e-07 at 9 steps (--tolerance 0.001)" in text
    assert "step 2: loss was 0.25, and is 0.2500001" in text
    assert "its surroundings were not recorded" in text


def test_what_may_explain_a_difference() -> None:
    packages = [Change(what=f"packages/p{number:02}", before="1", now="2") for number in range(15)]
    text = said(
        found(
            Outcome.DIFFERS,
            first_difference=StepDifference(step=4, stored=0.5, again=None),
            failure="ValueError: bad shapes",
            attempts=3,
            later_attempts=(4, 6),
            changes=(*packages, Change(what="gpus", before=None, now="NVIDIA H200")),
        )
    )
    assert "differs from step 4 of 9 on" in text
    assert "step 4: loss was 0.5, and is nothing" in text
    assert "it ended early this time: ValueError: bad shapes" in text
    assert "3 attempts (later ones from step 4, step 6 on)" in text
    assert text.index("changed: gpus, was none, is NVIDIA H200") < text.index("changed: p00, was 1, is 2")
    assert "p10" not in text
    assert "5 more packages" in text


def test_what_a_trial_ran_with_in_short() -> None:
    git = Git(commit="0123456789abcdef", dirty=True, changed=("a.py", "b.py", "c.py", "d.py"))
    ran_in = RunEnvironment(
        python="3.11.7",
        platform="Linux",
        cpu="Xeon",
        torch_threads=2,
        gpus=("H200", "H200"),
        driver="550.90",
        cuda="12.4",
        packages={"torch": "2.6", "ray": "2.60"},
        code=f"sha256:{'a' * 64}",
        git=git,
    )
    told = surroundings(TrialEnvironment(number=0, attempt=1, seed=0, environment=ran_in))
    assert told["commit"] == "0123456789ab, changed: a.py, b.py, c.py, …"
    assert (told["cpu"], told["gpu"], told["driver"]) == ("Xeon, 2 threads", "H200, H200", "550.90, CUDA 12.4")
    assert (told["seed"], told["torch"], told["packages"]) == (0, "2.6", "2 (--json names them)")
    assert surroundings(TrialEnvironment(number=0, attempt=1, seed=5, environment=None)) == {"seed": 5}
