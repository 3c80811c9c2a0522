"""Figures for Prometheus: requests seen by this process, and how the unfinished sweeps stand."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from toprung.serve.store import Store
from toprung.tuning.records import SweepState, TrialState

_UNFINISHED = (SweepState.QUEUED, SweepState.RUNNING)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Metrics:
    """One per application; its own registry, so that two applications in a process don't meet."""

    def __init__(self, store: Store) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_StoreFigures(store))
        self._requests = Counter(
            "toprung_http_requests", "Answered requests", ["method", "route", "status"], registry=self._registry
        )
        self._latency = Histogram(
            "toprung_http_response_start_seconds",
            "From the request to the first byte of its answer",  # a stream's end says nothing about the service
            ["route"],
            registry=self._registry,
        )

    def observe(self, scope: Scope, status: int, seconds: float) -> None:
        """Count an answer, under its route's template: labels must not grow with what callers send."""
        route = getattr(scope.get("route"), "path", "none")
        method = scope["method"] if scope["method"] in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def render(self) -> bytes:
        """Prometheus' text format.

        Raises:
            Unavailable: the store does not answer.
        """
        return generate_latest(self._registry)


class _StoreFigures(Collector):
    """Read when asked for, so that every process says the same."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> Iterable[Metric]:
        """Nothing: keeps the registry from reading the store when this is registered."""
        return ()

    def collect(self) -> Iterable[Metric]:
        live = self._store.sweeps_in(_UNFINISHED)
        sweeps = Tally(sweep.state for sweep in live)
        trials: Tally[TrialState] = Tally()
        for sweep in live:
            trials.update(sweep.trials)
        yield _gauge("toprung_sweeps", "Unfinished sweeps", {state.value: sweeps[state] for state in _UNFINISHED})
        yield _gauge("toprung_trials", "Trials of unfinished sweeps", {s.value: trials[s] for s in TrialState})
        yield CounterMetricFamily("toprung_events", "Events ever written", value=self._store.last_event_id())


def _gauge(name: str, text: str, values: dict[str, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["state"])
    for state, value in values.items():
        family.add_metric([state], value)
    return family
