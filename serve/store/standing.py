"""How the service stands, in a few figures: for Prometheus, which asks every few seconds, so no query is a long one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select

from toprung.serve.store import events, usage
from toprung.serve.store.sweeps import THERE
from toprung.serve.store.tables import COUNTERS, deliveries, sweeps
from toprung.serve.store.tables import events as event_table
from toprung.tuning.records import SweepState, TrialState
from toprung.tuning.webhooks import DeliveryState

_UNFINISHED = [state.value for state in SweepState if not state.finished]


@dataclass(frozen=True)
class Standing:
    """Of one moment."""

    sweeps: dict[SweepState, int]
    trials: dict[TrialState, int]
    """Of sweeps that haven't ended."""
    queued_since: datetime | None
    """Since when the sweep waits that has waited longest; None: none does."""
    last_event_id: int
    num_trials: int
    """Ever made, those of deleted sweeps too; as the next two."""
    num_results: int
    gpu_hours: float
    deliveries: dict[DeliveryState, int]
    """Of webhooks, of the last 30 days."""
    undelivered_since: datetime | None
    """When the oldest was made that has not arrived yet and is still tried."""


def read(connection: Connection) -> Standing:
    of_state = select(sweeps.c.state, func.count()).where(THERE).group_by(sweeps.c.state)
    states = {row[0]: row[1] for row in connection.execute(of_state)}
    sums = (func.coalesce(func.sum(sweeps.c[column]), 0) for column in COUNTERS.values())
    counts = connection.execute(select(*sums).where(sweeps.c.state.in_(_UNFINISHED))).one()
    # a sweep that was resumed or extended waits since then; the newest of its events are looked at, so a few rows
    latest = select(event_table.c.at).where(
        event_table.c.sweep_id == sweeps.c.id, event_table.c.type == events.SWEEP_STATE
    )
    since = select(latest.order_by(event_table.c.id.desc()).limit(1).scalar_subquery())
    waiting = connection.execute(since.where(sweeps.c.state == SweepState.QUEUED.value)).scalars().all()
    used = usage.by_owner(connection, None, None)
    of_delivery = select(deliveries.c.state, func.count()).group_by(deliveries.c.state)
    sent = {row[0]: row[1] for row in connection.execute(of_delivery)}
    oldest = select(func.min(deliveries.c.created_at)).where(deliveries.c.next_at.is_not(None))
    return Standing(
        sweeps={state: states.get(state.value, 0) for state in SweepState},
        trials=dict(zip(COUNTERS, map(int, counts), strict=True)),
        queued_since=min(waiting, default=None),
        last_event_id=events.last_id(connection),
        num_trials=sum(owner.trials for owner in used),
        num_results=sum(owner.steps for owner in used),
        gpu_hours=sum(owner.gpu_hours for owner in used),
        deliveries={state: sent.get(state.value, 0) for state in DeliveryState},
        undelivered_since=connection.execute(oldest).scalar(),
    )
