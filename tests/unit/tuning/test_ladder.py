"""Trials whose memory runs out: which step of the ladder follows, what it costs, what waits for it."""

from __future__ import annotations

from typing import Any

import pytest

from toprung.tuning.orders import Orders
from toprung.tuning.records import Failure, FailureKind, TrialState, utc_now
from toprung.tuning.run.ladder import PATIENCE_S, Ladder, next_step, places
from toprung.tuning.run.ledger import Ledger
from toprung.tuning.spec import Resources, spec_from

GPU, HOST = FailureKind.GPU_OOM, FailureKind.HOST_OOM
GPU_IS_FULL = Failure(kind=GPU, message="OutOfMemoryError: CUDA out of memory")
HOST_IS_FULL = Failure(kind=HOST, message="MemoryError")


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class Sweep:
    """The books of a sweep, in a cluster that has what the test says."""

    def __init__(self, resources: dict[str, Any], *, lacks: float = 100.0, **changes: Any) -> None:
        self.clock = Clock()
        spec = spec_from(
            {
                "trainable": "train:train",
                "metric": {"name": "loss", "goal": "minimize"},
                "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
                "budget": {"trials": 100},
                "resources": resources,
                **changes,
            }
        )
        self.ledger = Ledger("swp_1", spec, self.clock)
        self.lacks = lacks
        self.ladder = Ladder(self.ledger, lambda wanted: "no" if wanted.gpu >= self.lacks else None, self.clock)

    def run(self, *numbers: int) -> None:
        for number in numbers:
            if number >= self.ledger.num_trials:
                self.ledger.open(number, {}, {}, 0)
            self.ledger.started(number)

    def falls(self, number: int, failure: Failure) -> bool:
        """An attempt fails; whether another follows."""
        self.run(number)
        return self.ladder.tried_again(number, failure)

    def step(self, number: int) -> int:
        return self.ledger[number].ladder_step


def resources(*ladder: dict[str, Any], **foot: Any) -> Resources:
    return Resources.model_validate({**foot, "ladder": ladder})


class TestTheNextStep:
    @pytest.mark.parametrize(
        ("kind", "step", "expected"),
        [(GPU, 0, 1), (GPU, 1, 3), (GPU, 3, None), (HOST, 0, 2), (HOST, 1, 2), (HOST, 2, None), (HOST, 3, None)],
    )
    def test_has_something_else_of_what_ran_out(self, kind: FailureKind, step: int, expected: int | None) -> None:
        wanted = resources(
            {"gpu": 1}, {"gpu": 1, "memory_gb": 32}, {"gpu": 1, "accelerator_type": "H100"}, gpu=0.5, memory_gb=16
        )
        assert next_step(wanted, step, kind) == expected

    def test_is_on_the_host_only_one_with_more(self) -> None:
        assert next_step(resources({"memory_gb": 4}, {"memory_gb": 16}, memory_gb=8), 0, HOST) == 2
        assert next_step(resources({"memory_gb": 4}), 0, HOST) == 1, "what was not counted at the foot is now"

    def test_has_a_gpu_where_one_ran_out(self) -> None:
        assert next_step(resources({"gpu": 0}, {"gpu": 2}, gpu=1), 0, GPU) == 2

    def test_is_none_for_other_failures(self) -> None:
        assert next_step(resources({"gpu": 1, "memory_gb": 8}), 0, FailureKind.USER_ERROR) is None

    def test_is_one_that_can_be_had(self) -> None:
        assert next_step(resources({"gpu": 2}, {"gpu": 1}, gpu=0.5), 0, GPU, lambda step: step == 2) == 2


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (resources({"gpu": 1}, gpu=0.5), 2),
        (resources({"gpu": 1}, gpu=0.3), 4),
        (resources({"gpu": 1}), 1),
        (resources({"memory_gb": 24, "cpu": 2}, memory_gb=8), 3),
        (resources({"memory_gb": 2}, memory_gb=8), 1),
    ],
)
def test_places_of_a_share(wanted: Resources, expected: int) -> None:
    assert (places(wanted, 0), places(wanted, 1)) == (1, expected)


class TestATrial:
    def test_climbs_to_the_end_and_counts_no_retry(self) -> None:
        sweep = Sweep({"gpu": 0.5, "ladder": [{"gpu": 1}, {"gpu": 2}]}, failures={"max_retries": 0})
        assert sweep.falls(0, GPU_IS_FULL)
        assert sweep.ledger[0].state is TrialState.PENDING
        assert "tried again with step 1 of resources.ladder (gpu 1)" in (sweep.ledger[0].reason or "")
        assert sweep.falls(0, GPU_IS_FULL)
        assert (sweep.ledger.resources(0).gpu, sweep.ledger[0].num_failures) == (2, 0)
        assert not sweep.falls(0, GPU_IS_FULL)

    def test_fails_at_the_end_whatever_retries_are_left(self) -> None:
        sweep = Sweep({"memory_gb": 1, "ladder": [{"memory_gb": 2}]})
        assert [sweep.falls(0, HOST_IS_FULL) for _ in range(2)] == [True, False]

    def test_is_tried_again_as_ever_where_the_ladder_has_nothing_of_that(self) -> None:
        sweep = Sweep({"gpu": 0.5, "ladder": [{"gpu": 1}]}, failures={"max_retries": 1})
        assert [sweep.falls(0, HOST_IS_FULL) for _ in range(2)] == [True, False]
        assert (sweep.step(0), sweep.ledger[0].num_failures) == (0, 1)

    def test_whose_gpu_is_full_twice_has_failed(self) -> None:
        sweep = Sweep({"gpu": 1}, failures={"max_retries": 9})
        assert [sweep.falls(0, GPU_IS_FULL) for _ in range(2)] == [True, False]

    def test_passes_over_a_step_that_no_node_has_and_says_so_once(self) -> None:
        sweep = Sweep({"gpu": 1, "ladder": [{"gpu": 4}, {"gpu": 2}]}, lacks=4)
        for number in range(2):
            assert sweep.falls(number, GPU_IS_FULL)
            assert sweep.step(number) == 2
        taken = sweep.ledger.take()
        assert taken is not None
        (warning,) = taken[0].warnings
        assert "step 1 of resources.ladder (gpu 4)" in warning

    def test_is_tried_again_as_ever_where_no_node_has_any_step(self) -> None:
        sweep = Sweep({"gpu": 1, "memory_gb": 1, "ladder": [{"gpu": 4, "memory_gb": 2}]}, lacks=4)
        assert sweep.falls(0, HOST_IS_FULL)
        assert (sweep.step(0), sweep.ledger[0].num_failures) == (0, 1)

    def test_fails_at_the_end_also_where_its_node_has_gone(self) -> None:
        sweep = Sweep({"gpu": 1, "ladder": [{"gpu": 2}]}, lacks=4)
        assert sweep.falls(0, GPU_IS_FULL)
        sweep.lacks = 2
        assert not sweep.falls(0, GPU_IS_FULL)


def test_each_step_is_charged_for_what_it_has() -> None:
    sweep = Sweep({"gpu": 0.5, "ladder": [{"gpu": 1, "accelerator_type": "H100"}]})
    sweep.ledger.agenda.direct(Orders(spec=sweep.ledger.spec, revision=1, prices={"any": 1.0, "H100": 4.0}))
    sweep.run(0)
    sweep.clock.now += 3600
    assert sweep.ladder.tried_again(0, GPU_IS_FULL)
    assert (sweep.ledger[0].gpu_hours, sweep.ledger[0].cost) == (0.5, 0.5)
    sweep.run(0)
    sweep.clock.now += 3600
    assert sweep.ledger.gpu_hours == 1.5, "what runs included"
    sweep.ledger.reported(0, 1, {"loss": 1.0}, time_total_s=1.0, at=utc_now(), node="here")
    assert (sweep.ledger[0].gpu_hours, sweep.ledger[0].cost) == (1.5, 4.5)


class TestNewTrialsWait:
    def test_for_one_that_waits_for_more(self) -> None:
        sweep = Sweep({"gpu": 0.5, "ladder": [{"gpu": 1}]})
        sweep.run(0, 1)
        assert not sweep.ladder.holds_back()
        assert sweep.ladder.tried_again(0, GPU_IS_FULL)
        sweep.clock.now += 10 * PATIENCE_S
        assert sweep.ladder.holds_back(), "as long as another one runs, it may have to end first"
        assert sweep.ladder.more_places == 0
        sweep.run(0)
        assert not sweep.ladder.holds_back()
        assert sweep.ladder.more_places == 1

    def test_not_for_ever_where_others_have_what_it_needs(self) -> None:
        sweep = Sweep({"gpu": 0.5, "ladder": [{"gpu": 1}]})
        assert sweep.falls(0, GPU_IS_FULL)
        assert sweep.ladder.holds_back()
        sweep.clock.now += PATIENCE_S
        assert not sweep.ladder.holds_back()
        assert sweep.ladder.stranded == {0}
        assert not sweep.ladder.holds_back()
        taken = sweep.ledger.take()
        assert taken is not None
        assert [warning[:66] for warning in taken[0].warnings] == [
            "trial 0 waits for a place at step 1 of resources.ladder (gpu 1): i"
        ]
        sweep.run(1)
        assert not sweep.ladder.holds_back(), "it is waited for once"
        sweep.run(0)
        assert not sweep.ladder.stranded
