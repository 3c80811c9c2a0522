"""The shares of the sweeps that run, kept up with the cluster."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

import ray

from toprung.serve.settings import Settings
from toprung.serve.shares import Claim, Limit, shares
from toprung.tuning.records import Sweep, TrialState
from toprung.tuning.run.resources import bundle, slots_on

_NODES_TTL_S = 1.0


class Allotment:
    """Gives each running sweep its share, anew when sweeps come, go or change, and when nodes do.

    A sweep that starts needs seconds, or minutes where packages are installed, before it can use a place: till then
    the others keep what they had.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._shares: dict[str, int] = {}
        self._hungry: list[Sweep] = []
        self._basis: tuple[list[Claim], list[dict[str, float]], set[str]] | None = None
        self._nodes: list[dict[str, float]] = []
        self._looked_at = float("-inf")

    def update(self, sweeps: Sequence[Sweep]) -> None:
        """Takes note of the sweeps that run, or are about to, in the order in which they are served."""
        if sweeps and time.monotonic() - self._looked_at > _NODES_TTL_S:
            self._looked_at = time.monotonic()
            self._nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        claims = [_claim(sweep, self._nodes) for sweep in sweeps]
        starting = {sweep.id for sweep in sweeps if not _num_live(sweep)}
        if (claims, self._nodes, starting) != self._basis:
            self._basis = (claims, self._nodes, starting)
            self._shares = self._find(claims, starting, self._limits(sweeps))
        self._hungry = [s for s in sweeps if s.spec.preemption and self._has_use_for_more(s)]

    def _has_use_for_more(self, sweep: Sweep) -> bool:
        """Whether it has a trial for the places of its share that it doesn't use."""
        waits = not _has_begun_all(sweep) or sweep.trials.get(TrialState.PENDING, 0) > 0
        return waits and _num_running(sweep) < self.share(sweep.id)

    def _find(self, claims: Sequence[Claim], starting: set[str], limits: Mapping[str, Limit]) -> dict[str, int]:
        found = shares(claims, self._nodes, limits)
        if not starting:
            return found
        # what there would be for the others if each that starts wanted no more than its first place
        modest = [replace(claim, most=min(1, claim.most)) if claim.sweep_id in starting else claim for claim in claims]
        meanwhile = shares(modest, self._nodes, limits)
        kept = {
            sweep_id: min(self._shares.get(sweep_id, 0), meanwhile[sweep_id])
            for sweep_id in found
            if sweep_id not in starting
        }
        return {sweep_id: max(share, kept.get(sweep_id, 0)) for sweep_id, share in found.items()}

    def share(self, sweep_id: str) -> int:
        """Most trials that the sweep may have at once."""
        return self._shares.get(sweep_id, 1)

    def _limits(self, sweeps: Sequence[Sweep]) -> dict[str, Limit]:
        quotas = {owner: self._settings.quota(owner) for owner in {s.owner for s in sweeps} if owner is not None}
        return {owner: Limit(quota.trials or math.inf, quota.gpus or math.inf) for owner, quota in quotas.items()}

    def must_make_room(self, sweep: Sweep) -> bool:
        """Whether trials beyond the sweep's share pause: another one waits that may have their places at once."""
        return any(other.id != sweep.id and other.spec.priority >= sweep.spec.priority for other in self._hungry)


def _num_running(sweep: Sweep) -> int:
    return sweep.trials.get(TrialState.RUNNING, 0)


def _has_begun_all(sweep: Sweep) -> bool:
    return sweep.num_trials is not None and sum(sweep.trials.values()) >= sweep.num_trials


def _num_live(sweep: Sweep) -> int:
    return _num_running(sweep) + sweep.trials.get(TrialState.PENDING, 0)


def _claim(sweep: Sweep, nodes: Sequence[dict[str, float]]) -> Claim:
    spec = sweep.spec
    over = sum(count for state, count in sweep.trials.items() if state.finished)
    left = None if sweep.num_trials is None else max(1, sweep.num_trials - over)
    if _has_begun_all(sweep):  # those that wait at a rung take a place one by one, if at all
        left = _num_live(sweep) + 1
    wanted = bundle(spec.resources)
    # what the cluster holds bounds it, too: so the shares need not be found anew as the trials of a long sweep end
    bounds = [bound for bound in (spec.concurrency, left, slots_on(nodes, wanted)) if bound is not None]
    return Claim(
        sweep_id=sweep.id,
        bundle=tuple(wanted.items()),
        most=min(bounds),
        priority=spec.priority,
        weight=spec.weight,
        owner=sweep.owner,
    )
