"""The placement groups of trials, given up without a loss.

Ray 2.60 loses the resources of a placement group for good where it is removed while its node prepares them: of 300
groups that were removed right after they were asked for, 19 left their CPUs taken until Ray was started anew, and a
trial that needs the whole machine then waits for ever. Tune removes one like that whenever an actor that has become
free takes the trial that it was meant for.
"""

from __future__ import annotations

import time

import ray
from ray.air.execution import PlacementGroupResourceManager, ResourceRequest
from ray.tune.execution import tune_controller
from ray.util import remove_placement_group
from ray.util.placement_group import PlacementGroup

_SETTLE_S = 0.5
"""After that a group is placed, or waits for room: Ray takes milliseconds for it."""


def settle_groups() -> None:
    """From now on a sweep of Tune's has `SettledGroups`."""
    tune_controller.PlacementGroupResourceManager = SettledGroups


class SettledGroups(PlacementGroupResourceManager):  # type: ignore[misc]
    """Ray's manager, which leaves a group that is given up before it is placed alone for a moment, then removes it."""

    def __init__(self, update_interval_s: float = 0.1) -> None:
        super().__init__(update_interval_s)
        self._given_up: list[tuple[float, PlacementGroup]] = []
        """When to remove them, the next one first."""
        self._settled_at = 0.0
        """When the newest group will be placed."""

    def request_resources(self, resource_request: ResourceRequest) -> None:
        super().request_resources(resource_request)
        self._settled_at = time.monotonic() + _SETTLE_S

    def cancel_resource_request(self, resource_request: ResourceRequest) -> None:
        staged = self._request_to_staged_pgs[resource_request]
        if not staged:
            super().cancel_resource_request(resource_request)
            return
        group = staged.pop()
        future = self._pg_to_staging_future.pop(group)
        del self._staging_future_to_pg[future], self._pg_to_request[group]
        ray.cancel(future)
        self._given_up.append((time.monotonic() + _SETTLE_S, group))

    def get_resource_futures(self) -> list[ray.ObjectRef[None]]:
        """As Ray's. Tune asks in each step: the time to remove what is due."""
        self._remove(time.monotonic())
        futures: list[ray.ObjectRef[None]] = super().get_resource_futures()
        return futures

    def clear(self) -> None:
        if ray.is_initialized():
            last = max([at for at, _ in self._given_up], default=0.0)
            if any(self._request_to_staged_pgs.values()):
                last = max(last, self._settled_at)
            time.sleep(max(0.0, last - time.monotonic()))
            self._remove(last)
        super().clear()

    def _remove(self, until: float) -> None:
        while self._given_up and self._given_up[0][0] <= until:
            remove_placement_group(self._given_up.pop(0)[1])
