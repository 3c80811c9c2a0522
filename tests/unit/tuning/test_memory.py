"""A worker that Ray kills for want of memory."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ray.air.execution._internal import RayActorManager
from ray.exceptions import OutOfMemoryError

from toprung.tuning.records import FailureKind
from toprung.tuning.run.failure import failure_of
from toprung.tuning.run.memory import let_trials_run_out_of_memory

SAID = """4 worker(s) were killed due to the node running low on memory. Memory on the node (IP: 127.0.0.1) \
was 7.68GB used / 8.00GB limit (0.960000)
OOM kill reason: Memory usage 8246337208B exceeded threshold of 8160437760B (95.0% of 8589934592B limit)"""
"""The beginning of what Ray 2.60 says."""


def test_it_is_a_trial_s_failure_and_not_the_sweep_s_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RayActorManager, "_actor_task_failed", RayActorManager._actor_task_failed)  # put back later
    told: list[Exception] = []
    task = SimpleNamespace(
        _tracked_actor=SimpleNamespace(actor_id=1, _on_error=None), _on_error=lambda actor, error: told.append(error)
    )
    manager = SimpleNamespace(_failed_actor_ids=set(), _cleanup_actor=lambda tracked_actor: None)

    let_trials_run_out_of_memory()
    RayActorManager._actor_task_failed(manager, task, OutOfMemoryError(SAID))

    (error,) = told
    failure = failure_of(error)
    assert (failure.kind, failure.traceback) == (FailureKind.HOST_OOM, SAID)
    assert failure.message == "the host ran out of memory and Ray killed the worker"
    assert manager._failed_actor_ids == {1}
