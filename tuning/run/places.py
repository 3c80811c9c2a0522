"""Tune's queue for places on the cluster. Ray gives a free one to who asked first, whatever the shares."""

from __future__ import annotations

import functools
from collections.abc import Collection
from typing import Any

from ray.tune import PlacementGroupFactory
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial as TuneTrial
from ray.util import placement_group_table

from toprung.tuning.run.resources import bundle, selector
from toprung.tuning.spec import Resources


def placement(resources: Resources, avoided: Collection[str] = ()) -> PlacementGroupFactory:
    """What one trial asks of Ray.

    Args:
        resources: of the trial.
        avoided: ids of nodes where it must not begin.
    """
    labels = selector(resources, avoided)
    chosen = {"bundle_label_selector": [labels] * resources.places} if labels else {}
    if resources.workers is None:
        return PlacementGroupFactory([bundle(resources)], **chosen)
    # all or none: trials that wait for each other with half of their workers would wait for ever
    return PlacementGroupFactory([{}, *[bundle(resources)] * resources.workers], **chosen)


def let_others_be_asked() -> None:
    """From now on Tune waits for a new trial no longer than a moment before it goes on with the rest of its loop.

    Where nothing runs and nothing may be begun, as with a share of 0, it would wait for ten minutes, and keep the
    worker of the last trial that long.
    """
    ask = TuneController._update_trial_queue

    @functools.wraps(ask)
    def briefly(self: TuneController, blocking: bool = False, timeout: float = 0.0) -> bool:
        return bool(ask(self, blocking=blocking, timeout=0))

    TuneController._update_trial_queue = briefly


def waits_for_a_place(tune_controller: Any, trial: TuneTrial) -> bool:
    """Whether the trial has asked Ray for a place and was not given one yet."""
    actor = tune_controller._trial_to_actor.get(trial)
    return trial.status == TuneTrial.PENDING and actor in tune_controller._actor_manager._pending_actors_to_attrs


def step_back(tune_controller: Any, trial: TuneTrial) -> None:
    """Takes such a trial out of the queue: it is paused, and can be chosen to run again."""
    tune_controller._unstage_trial_with_resources(trial)
    tune_controller._schedule_trial_pause(trial, should_checkpoint=False)


def workers_of(tune_controller: Any) -> list[object]:
    """Who has a worker, and which ones live: the same objects as long as `nodes_of` has the same answers."""
    actors = tune_controller._actor_manager._live_actors_to_ray_actors_resources
    given = tune_controller._trial_to_actor
    return [*given, *given.values(), *actors]


def nodes_of(tune_controller: Any, trial: TuneTrial) -> frozenset[str]:
    """The ids of the nodes where the trial has a worker, or several; none yet where it waits."""
    actors = tune_controller._actor_manager._live_actors_to_ray_actors_resources
    entry = actors.get(tune_controller._trial_to_actor.get(trial))
    return frozenset() if entry is None else _nodes_of_group(entry[1].placement_group)


@functools.lru_cache(maxsize=4096)
def _nodes_of_group(group: Any) -> frozenset[str]:
    return frozenset(placement_group_table(group)["bundles_to_node_id"].values())


def move(tune_controller: Any, trial: TuneTrial, resources: Resources, avoided: Collection[str] = ()) -> None:
    """A trial without a worker asks for other resources from now on: workers that have the old ones don't suit it."""
    wanted = placement(resources, avoided)
    if trial.placement_group_factory == wanted:
        return
    waiting = tune_controller._resources_to_pending_trials
    waits = trial in waiting[trial.placement_group_factory]
    waiting[trial.placement_group_factory].discard(trial)
    trial.update_resources(wanted)
    if waits:
        waiting[wanted].add(trial)


def let_idle_workers_go(tune_controller: Any) -> None:
    """Ends workers without a trial, unless one waits that they suit.

    Tune keeps one for a trial that may come: its place may be another sweep's by now, or part of what a trial waits for
    that wants more.
    """
    suits = tune_controller._actor_cache.has_cached_object
    if not any(suits(trial.placement_group_factory) for trial in tune_controller._pending_trials):
        tune_controller._cleanup_cached_actors(force_all=True)
