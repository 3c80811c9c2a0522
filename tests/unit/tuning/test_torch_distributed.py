"""Several workers to a trial: what can be told without Ray. The rest is in
tests/integration/test_workers.py."""

from __future__ import annotations

import pickle
import sys
import traceback

import pytest
import torch
from ray.exceptions import ActorUnavailableError, OutOfMemoryError, RayActorError, RayTaskError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2._internal.util import construct_user_exception_with_traceback
from ray.tune import PlacementGroupFactory

from toprung.tuning.records import FailureKind
from toprung.tuning.run.failure import failure_of
from toprung.tuning.run.places import placement
from toprung.tuning.run.resources import bundle, slots_on
from toprung.tuning.run.tracebacks import user_traceback
from toprung.tuning.spec import Resources
from toprung.tuning.torch import distribute
from toprung.tuning.torch.distributed import places, raise_in_trial
from toprung.tuning.torch.said import collect, take


def test_a_trial_asks_for_all_its_workers_at_once() -> None:
    resources = Resources(cpu=2, gpu=1, workers=3)
    request = placement(resources)
    assert request.head_bundle_is_empty, "the trial itself only waits"
    assert request.bundles == [{"CPU": 2.0, "GPU": 1.0}] * 3
    assert (places(request).resources, places(request).indices) == ({"CPU": 2.0, "GPU": 1.0}, [0, 1, 2])
    assert placement(Resources(cpu=2)).bundles == [{"CPU": 2.0}]


@pytest.mark.parametrize(
    ("workers", "nodes", "trials"), [(2, [4, 4], 4), (3, [4, 4], 2), (8, [4, 4], 1), (9, [4, 4], 0)]
)
def test_trials_that_fit(workers: int, nodes: list[int], trials: int) -> None:
    resources = Resources(workers=workers)
    assert slots_on([{"CPU": float(cpus)} for cpus in nodes], bundle(resources), resources.places) == trials


def test_in_a_tuner_of_ones_own_the_trial_may_have_its_place() -> None:
    request = PlacementGroupFactory([{"CPU": 1}, {"CPU": 2}, {"CPU": 2}])
    assert (places(request).resources, places(request).indices) == ({"CPU": 2.0}, [1, 2])
    assert places(request, 1).indices == [1]


@pytest.mark.parametrize(
    ("bundles", "workers", "text"),
    [
        ([{"CPU": 1}], None, "distribute wants some workers and the trial has places for 0"),
        ([{"CPU": 1}, {"CPU": 1}], 2, "distribute wants 2 workers and the trial has places for 1"),
        ([{}, {"CPU": 1}, {"CPU": 2}], None, "needs workers that have the same"),
    ],
)
def test_places_that_are_not_there(bundles: list[dict[str, float]], workers: int | None, text: str) -> None:
    with pytest.raises(ValueError, match=text):
        places(PlacementGroupFactory(bundles), workers)


def test_it_needs_a_trial() -> None:
    with pytest.raises(RuntimeError, match="inside of a trial only"):
        distribute(print, {})


def test_what_a_worker_prints_is_handed_over_by_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", sys.stdout)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    collect()
    sys.stdout.write("one\ntw")
    sys.stderr.write("o\nthr")
    assert [take(False), take(False), take(True), take(True)] == ["one\ntwo\n", "", "thr", ""]


class TestOneOfSeveralWorkers:
    """What `distribute` makes of Ray Train's errors, and the runner of that, on its way through Ray."""

    def failure(self, error: BaseException) -> tuple[FailureKind, str, str]:
        with pytest.raises(Exception) as raised:  # noqa: PT011  of any kind
            raise_in_trial(error)
        said = "".join(user_traceback(raised.value))
        frames = "".join(traceback.format_exception(raised.value))
        sent = RayTaskError("train", f"ray::train()\n{frames}", pickle.loads(pickle.dumps(raised.value)))
        failure = failure_of(sent.as_instanceof_cause())
        return failure.kind, failure.traceback or "", said

    @pytest.mark.parametrize(
        ("error", "kind"),
        [
            (RayActorError(None, "The actor died because its node has died."), FailureKind.NODE_LOST),
            (RayActorError(None, "The actor died.", preempted=True), FailureKind.PREEMPTED),
            (ActorUnavailableError("RpcError: Connection refused", None), FailureKind.NODE_LOST),
            (RayActorError(None, "Worker exits by an exit code 7."), FailureKind.USER_ERROR),
        ],
    )
    def test_its_process_is_gone(self, error: RayActorError, kind: FailureKind) -> None:
        assert self.failure(WorkerHealthCheckFailedError("a worker", error))[0] is kind

    def test_ray_killed_it_for_its_memory(self) -> None:
        error = OutOfMemoryError("Task was killed due to the node running low on memory.")
        assert self.failure(WorkerHealthCheckFailedError("a worker", error))[0] is FailureKind.HOST_OOM

    def test_its_error_comes_with_its_own_traceback(self) -> None:
        def loop() -> None:
            raise torch.OutOfMemoryError("CUDA out of memory")

        try:
            loop()
        except torch.OutOfMemoryError as error:
            raised = construct_user_exception_with_traceback(error)
        kind, kept, said = self.failure(raised)
        assert kind is FailureKind.GPU_OOM
        for text in (kept, said):
            assert text.rstrip().endswith("OutOfMemoryError: CUDA out of memory")
            assert "in loop" in text
            assert "raise_in_trial" not in text

    def test_one_that_leaves_is_an_error(self) -> None:
        kind, _, said = self.failure(SystemExit(3))
        assert kind is FailureKind.USER_ERROR
        assert "a worker ended by SystemExit(3)" in said
