"""The shares of the sweeps that run, kept up with the cluster."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from toprung.serve.settings import Settings
from toprung.serve.shares import Claim, Limit, shares
from toprung.tuning.records import Sweep, TrialState
from toprung.tuning.run.nodes import Node
from toprung.tuning.run.resources import offers, slots_on, wants

_ENDLESS = 2**31


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

    def update(self, sweeps: Sequence[Sweep], usable: Sequence[Node]) -> None:
        """Takes note of how things are.

        Args:
            sweeps: that run, or are about to, in the order in which they are served.
            usable: the nodes that take new trials.
        """
        nodes = offers(usable, (sweep.spec.resources for sweep in sweeps))
        claims = [claim(sweep, nodes) for sweep in sweeps]
        starting = {sweep.id for sweep in sweeps if not _num_live(sweep)}
        if (claims, nodes, starting) != self._basis:
            self._basis = (claims, nodes, starting)
            self._shares = self._find(claims, nodes, starting, limits(sweeps, self._settings))
        self._hungry = [s for s in sweeps if s.spec.preemption and self._has_use_for_more(s)]

    def _has_use_for_more(self, sweep: Sweep) -> bool:
        """Whether it has a trial for the places of its share that it doesn't use."""
        waits = not _has_begun_all(sweep) or sweep.trials.get(TrialState.PENDING, 0) > 0
        return waits and _num_running(sweep) < self.share(sweep.id)

    def _find(
        self,
        claims: Sequence[Claim],
        nodes: Sequence[Mapping[str, float]],
        starting: set[str],
        limits: Mapping[str, Limit],
    ) -> dict[str, int]:
        found = shares(claims, nodes, limits)
        if not starting:
            return found
        # what there would be for the others if each that starts wanted no more than its first place
        modest = [replace(claim, most=min(1, claim.most)) if claim.sweep_id in starting else claim for claim in claims]
        meanwhile = shares(modest, nodes, limits)
        kept = {
            sweep_id: min(self._shares.get(sweep_id, 0), meanwhile[sweep_id])
            for sweep_id in found
            if sweep_id not in starting
        }
        return {sweep_id: max(share, kept.get(sweep_id, 0)) for sweep_id, share in found.items()}

    def share(self, sweep_id: str) -> int:
        """Most trials that the sweep may have at once."""
        return self._shares.get(sweep_id, 1)

    def all(self) -> dict[str, int]:
        """Those shares, by sweep."""
        return dict(self._shares)

    def must_make_room(self, sweep: Sweep) -> bool:
        """Whether trials beyond the sweep's share pause: another one waits that may have their places at once."""
        return any(other.id != sweep.id and other.spec.priority >= sweep.spec.priority for other in self._hungry)


def limits(sweeps: Sequence[Sweep], settings: Settings) -> dict[str, Limit]:
    """The quotas of the sweeps' owners."""
    quotas = {owner: settings.quota(owner) for owner in {s.owner for s in sweeps} if owner is not None}
    return {owner: Limit(quota.trials or math.inf, quota.gpus or math.inf) for owner, quota in quotas.items()}


def _num_running(sweep: Sweep) -> int:
    return sweep.trials.get(TrialState.RUNNING, 0)


def _has_begun_all(sweep: Sweep) -> bool:
    return sweep.num_trials is not None and sum(sweep.trials.values()) >= sweep.num_trials


def _num_live(sweep: Sweep) -> int:
    return _num_running(sweep) + sweep.trials.get(TrialState.PENDING, 0)


def claim(sweep: Sweep, nodes: Sequence[Mapping[str, float]] | None) -> Claim:
    """What a sweep could use of nodes, as `offers` tells of them; None: of as many as it likes."""
    spec = sweep.spec
    over = sum(count for state, count in sweep.trials.items() if state.finished)
    left = None if sweep.num_trials is None else max(1, sweep.num_trials - over)
    if _has_begun_all(sweep):  # those that wait at a rung take a place one by one, if at all
        left = max(1, _num_live(sweep) + (TrialState.PAUSED in sweep.trials))
    wanted = wants(spec.resources)
    # what the cluster holds bounds it, too: so the shares need not be found anew as the trials of a long sweep end
    fit = _ENDLESS if nodes is None else slots_on(nodes, wanted, spec.resources.places)
    bounds = [bound for bound in (spec.concurrency, left, fit) if bound is not None]
    return Claim(
        sweep_id=sweep.id,
        bundle=tuple(wanted.items()),
        places=spec.resources.places,
        most=min(bounds),
        priority=spec.priority,
        weight=spec.weight,
        owner=sweep.owner,
    )
