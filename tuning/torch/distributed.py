"""Several processes to one trial, by Ray Train's `TorchTrainer`.

Ray Train would ask for a placement group of its own, from a controller in another process: a trial would wait with half
of what it needs while another holds the rest. Here the trial's own placement group has its workers, and the controller
runs in the trial's thread: no process besides the workers (and the one in which they meet), and all of them end with
the trial.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np
import ray
import ray.train
import torch
from ray import tune
from ray.exceptions import RayError, RayTaskError
from ray.train import Checkpoint
from ray.train._internal.session import _TrainingResult, get_session
from ray.train.v2._internal.callbacks.placement_group_callback import PlacementGroupCleanerCallback
from ray.train.v2._internal.exceptions import (
    UserExceptionWithTraceback,
    WorkerGroupStartupFailedError,
    WorkerHealthCheckFailedError,
)
from ray.train.v2._internal.execution.callback import ReportCallback, WorkerGroupCallback
from ray.train.v2._internal.execution.controller import TrainController
from ray.train.v2._internal.execution.controller.state import ErroredState, ShuttingDownState
from ray.train.v2._internal.execution.scaling_policy import FixedScalingPolicy
from ray.train.v2._internal.execution.worker_group import WorkerGroup
from ray.train.v2._internal.execution.worker_group.placement_group_handle import DefaultPlacementGroupHandle
from ray.train.v2.api.config import CheckpointConfig, FailureConfig, RunConfig, ScalingConfig
from ray.train.v2.api.exceptions import ControllerError
from ray.train.v2.api.result import Result
from ray.train.v2.torch.torch_trainer import TorchTrainer
from ray.util import get_current_placement_group

from toprung.tuning.niceness import give_way
from toprung.tuning.out_of_memory import says_any
from toprung.tuning.torch.memory import is_out_of_memory
from toprung.tuning.torch.report import report_to_train
from toprung.tuning.torch.said import collect, take

Run = Callable[[Coroutine[Any, Any, None]], None]
"""Runs a coroutine to its end, always in the same loop: Ray Train's controller is written for one."""

_POLL_S = 0.1
"""How often workers are asked for news."""
_LOG_S = 0.5
"""How often for what they have printed."""
_ANSWER_S = 5.0
_ECHO_S = 3.0
"""Where a worker has lost another one, how long to wait for word of what that one died of."""

_QUIET = (
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING",
    "RAY_TRAIN_ENABLE_WORKER_STRUCTURED_LOGGING",
    "RAY_TRAIN_ENABLE_PRINT_PATCH",
    "RAY_TRAIN_METRICS_ENABLED",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER",
)
"""Log files, metrics and an actor that nobody here reads; Ray Train hands these on to the workers."""


class WorkerDiedError(RuntimeError):
    """A worker process of a trial is gone; the text is Ray's."""

    preempted = False
    """Whether its node was."""


def distribute(
    train_loop: Callable[[dict[str, Any]], Any], config: Mapping[str, Any], *, workers: int | None = None
) -> None:
    """Runs `train_loop(config)` in each of the trial's workers, from a function trainable.

    In the workers it is as with `ray.train.torch.TorchTrainer`: `ray.train.report`, `ray.train.get_checkpoint`,
    `ray.train.torch.prepare_model`. What the first worker reports is the trial's result, with the checkpoint; a trial
    that goes on gets its last checkpoint. The process group is NCCL's where the workers have GPUs, else Gloo's.
    Python's, NumPy's and PyTorch's generators are seeded in each worker, by the trial's NumPy generator and the rank.

    Args:
        train_loop: a function of one argument, the same in all workers.
        config: what it gets.
        workers: how many of the trial's workers; none: all.

    Raises:
        RuntimeError: not called by a trial.
        ValueError: the trial has no workers, or fewer than asked for.
        WorkerDiedError: a worker process ended.
        Exception: what a worker raised, after its own traceback.
    """
    session = get_session()
    if session is None or session.trial_info is None:
        raise RuntimeError("distribute works inside of a trial only: call it in a function trainable of ray.tune")
    granted = places(tune.get_context().get_trial_resources(), workers)
    seed = int(np.random.randint(0, 2**32, dtype=np.uint32))
    logging.getLogger("ray.train").setLevel(logging.WARNING)
    for name in _QUIET:
        os.environ.setdefault(name, "0")
    with _scratch(session.storage) as storage:
        trainer = _Trainer(
            _seeded(train_loop, seed),
            train_loop_config=dict(config),
            scaling_config=ScalingConfig(
                num_workers=len(granted.indices),
                use_gpu=granted.resources.get("GPU", 0) > 0,
                resources_per_worker=granted.resources,
            ),
            run_config=RunConfig(
                **storage,
                # in Toprung's trials it is off: functions that report by `ray.train.report` are as welcome
                worker_runtime_env={"env_vars": {"RAY_TRAIN_V2_ENABLED": "1"}},
                checkpoint_config=CheckpointConfig(num_to_keep=1),
                # who tries again is Tune
                failure_config=FailureConfig(max_failures=0, controller_failure_limit=0, max_preemption_failures=0),
            ),
        )
        trainer.places = granted
        trainer.fit()


class _Places(NamedTuple):
    """Those of a trial's workers."""

    resources: dict[str, float]
    """What each has, by Ray's names."""
    indices: list[int]
    """Of the bundles of the trial's placement group."""


def places(request: Any, workers: int | None = None) -> _Places:
    bundles = request.bundles
    first = 0 if request.head_bundle_is_empty else 1  # there the trial itself is
    there = len(bundles) - first
    if there == 0 or (workers or 1) > there:
        wanted = workers or "some"
        raise ValueError(
            f"distribute wants {wanted} workers and the trial has places for {there}. Ask for them in the spec, "
            f"resources: {{workers: {workers or 2}}}, or in a Tuner of your own: tune.with_resources(trainable, "
            f"tune.PlacementGroupFactory([{{}}] + [{{'CPU': 1}}] * {workers or 2}))"
        )
    if any(bundle != bundles[first] for bundle in bundles[first:]):
        raise ValueError(f"distribute needs workers that have the same, and the trial's have {bundles[first:]}")
    return _Places(bundles[first], list(range(first, first + (workers or there))))


@contextlib.contextmanager
def _scratch(storage: Any) -> Iterator[dict[str, Any]]:
    """Where workers leave a checkpoint till the trial has it, in its folder: all nodes reach that."""
    folder = f"{storage.trial_fs_path}/workers"
    _remove(storage.storage_filesystem, folder)  # of an attempt that was killed; Ray Train would go on from it
    try:
        yield {
            "storage_path": storage.trial_fs_path,
            "storage_filesystem": storage.storage_filesystem,
            "name": "workers",
        }
    finally:
        _remove(storage.storage_filesystem, folder)


def _remove(filesystem: Any, folder: str) -> None:
    with contextlib.suppress(OSError):  # not there, or a storage that is away: the trial says so itself
        filesystem.delete_dir(folder)


def _seeded(train_loop: Callable[[dict[str, Any]], Any], seed: int) -> Callable[[dict[str, Any]], Any]:
    def loop(config: dict[str, Any]) -> Any:
        give_way()
        rank = ray.train.get_context().get_world_rank()
        collect()
        report_to_train(ray.train.report)
        own = int(np.random.SeedSequence([seed, rank]).generate_state(1)[0])
        random.seed(own)
        np.random.seed(own)
        torch.manual_seed(own)
        return train_loop(config)

    return loop


# ---- Ray Train's parts, where the trial's own take the place of others


class _Trainer(TorchTrainer):  # type: ignore[misc]
    places: _Places

    def _validate_configs(self) -> None: ...  # asks whether this process, too, has `RAY_TRAIN_V2_ENABLED`

    def _create_default_callbacks(self) -> list[Any]:
        # the placement group is Tune's, who removes it
        return [c for c in super()._create_default_callbacks() if not isinstance(c, PlacementGroupCleanerCallback)]

    def _initialize_and_run_controller(self, **parts: Any) -> Any:
        news = _News()
        parts["callbacks"].append(news)
        parts["scaling_policy"] = _AsItIs(self.scaling_config)
        controller = _Controller(**parts)
        controller.worker_group_cls = type("_Workers", (_Workers,), {"places": self.places})
        controller._health_check_interval_s = _POLL_S
        given = tune.get_checkpoint()
        if given is not None:
            checkpoint = Checkpoint(given.path, filesystem=given.filesystem)
            controller._checkpoint_manager._latest_checkpoint_result = _TrainingResult(checkpoint, {})
        try:
            with asyncio.Runner() as runner:
                _follow(controller, news, runner.run)
        finally:
            controller.kill()
        return Result(metrics=None, checkpoint=None, error=None, path="")


class _AsItIs(FixedScalingPolicy):  # type: ignore[misc]
    """The trial has its places: an autoscaler is asked for nothing."""

    def after_controller_start(self, train_run_context: Any) -> None: ...

    def _maybe_send_resource_request(self) -> None: ...


class _Controller(TrainController):  # type: ignore[misc]
    def kill(self) -> None:
        """Ends the workers without a word: one may hang, and the next trial waits for the place."""
        group = self.get_worker_group()
        if group is not None and group.has_started():
            state = group.get_worker_group_state()
            for actor in [*(worker.actor for worker in state.workers), state.sync_actor]:
                ray.kill(actor)


class _Workers(WorkerGroup):  # type: ignore[misc]
    """Workers in the placement group of the trial."""

    places: _Places

    def _create_placement_group(self, *of_its_own: Any) -> Any:
        return _Lent(get_current_placement_group())

    def _create_workers(self, *args: Any, **options: Any) -> Any:
        return super()._create_workers(*args, **{**options, "placement_group_bundle_indices": self.places.indices})


class _Lent(DefaultPlacementGroupHandle):  # type: ignore[misc]
    def shutdown(self) -> None: ...


class _News(ReportCallback, WorkerGroupCallback):  # type: ignore[misc]
    """What the workers told when they were asked last."""

    def __init__(self) -> None:
        self.reports: list[tuple[dict[str, Any], Checkpoint | None]] = []
        self.errors: dict[int, BaseException] = {}

    def after_report(self, training_report: Any, metrics: list[dict[str, Any]]) -> None:
        self.reports.append((training_report.metrics, training_report.checkpoint))

    def after_worker_group_poll_status(self, worker_group_status: Any) -> None:
        statuses = worker_group_status.worker_statuses
        self.errors = {rank: status.error for rank, status in statuses.items() if status.error is not None}


def _follow(controller: _Controller, news: _News, run: Run) -> None:
    """Hands on what the workers report and print, until they are through, one fails, or the trial is told to stop."""
    session = get_session()
    log_at = 0.0
    state = controller.get_state()
    while not isinstance(state, ShuttingDownState):
        run(controller._run_control_loop_iteration())
        state = controller.get_state()
        group = controller.get_worker_group()
        ends = isinstance(state, ShuttingDownState)
        if group is not None and (ends or news.reports or time.monotonic() >= log_at):
            _print_what_was_said(group, all_of_it=ends)
            log_at = time.monotonic() + _LOG_S
        while news.reports:
            metrics, checkpoint = news.reports.pop(0)
            kept = checkpoint and tune.Checkpoint(checkpoint.path, filesystem=checkpoint.filesystem)
            tune.report(metrics, checkpoint=kept)  # does not return where the trial is stopped or pauses
        if news.errors and group is not None:
            _wait_for_the_first_of_them(group, news, run)
            raise_in_trial(min(news.errors.values(), key=_precedence))
        if session.stop_event.is_set():
            sys.exit(0)  # as `tune.report` does
    if isinstance(state.next_state, ErroredState):  # the workers did not start
        error = state.next_state.training_failed_error
        raise_in_trial(error.controller_failure if isinstance(error, ControllerError) else error)


def _print_what_was_said(group: WorkerGroup, *, all_of_it: bool) -> None:
    asked = group.execute_async(take, all_of_it)
    there, _ = ray.wait(asked, num_returns=len(asked), timeout=_ANSWER_S)
    for rank, answer in enumerate(asked):
        if answer not in there:
            continue
        with contextlib.suppress(RayError):  # it is gone
            for line in ray.get(answer).splitlines():
                sys.stdout.write(f"[rank {rank}] {line}\n" if rank else f"{line}\n")


# ---- what a trial with several workers dies of


def _wait_for_the_first_of_them(group: WorkerGroup, news: _News, run: Run) -> None:
    """Where a worker has only lost another one: for word of what that one died of."""

    async def ask_again() -> None:
        await asyncio.sleep(_POLL_S)
        group.poll_status(timeout=_POLL_S)

    ends_at = time.monotonic() + _ECHO_S
    while len(news.errors) < len(group) and time.monotonic() < ends_at and all(map(_is_echo, news.errors.values())):
        run(ask_again())


def _is_echo(error: BaseException) -> bool:
    cause = _cause(error)
    return isinstance(cause, torch.distributed.DistError) or (
        isinstance(cause, RuntimeError) and says_any(cause, ("gloo", "NCCL", "Connection closed by peer"))
    )


def _precedence(error: BaseException) -> int:
    """Out of memory, then the end of a process, then any other error, then that another one is gone."""
    cause = _cause(error)
    if is_out_of_memory(cause):
        return 0
    if isinstance(cause, RayError):
        return 1
    return 3 if _is_echo(error) else 2


def _cause(error: BaseException) -> BaseException:
    cause: BaseException | None = error
    if isinstance(error, UserExceptionWithTraceback):
        cause = error._base_exc
    elif isinstance(error, WorkerHealthCheckFailedError):
        cause = error.health_check_failure
    elif isinstance(error, WorkerGroupStartupFailedError):
        cause = error.__cause__
    return cause or error


def raise_in_trial(error: BaseException) -> NoReturn:
    """Raises what a trial fails with, for the error of one of its workers, as Ray Train hands it out."""
    cause = _cause(error)
    if isinstance(cause, RayError) and not isinstance(cause, RayTaskError):
        # as its own, for Tune takes it for the end of the trial's process
        died = WorkerDiedError(str(cause))
        died.preempted = getattr(cause, "preempted", False)
        raise died from None
    if not isinstance(cause, Exception):  # such as SystemExit, which would end the trial without a word
        cause = RuntimeError(f"a worker ended by {cause!r}")
    if isinstance(error, UserExceptionWithTraceback):
        raise cause from _InWorkerError(error._traceback_str)
    raise cause


class _InWorkerError(Exception):
    """Shows the traceback in the worker above that of the trial."""

    @property
    def in_worker(self) -> str:
        text: str = self.args[0]
        return text

    def __str__(self) -> str:
        return f'\n"""\n{self.in_worker.rstrip()}\n"""'
