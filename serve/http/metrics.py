"""Figures for Prometheus: requests and streams of this process, and how the service stands (docs/monitoring.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import Scope

from toprung import __version__
from toprung.serve.store import Store
from toprung.tuning.records import Event, utc_now

S = TypeVar("S", bound=StrEnum)
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Metrics:
    """One per application; its own registry, so that two applications in a process don't meet."""

    def __init__(self, store: Store) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_StoreFigures(store))
        ProcessCollector(registry=self._registry)
        Info("toprung_build", "What runs", registry=self._registry).info({"version": __version__})
        self._requests = Counter(
            "toprung_http_requests", "Answered requests", ["method", "route", "status"], registry=self._registry
        )
        self._latency = Histogram(
            "toprung_http_response_start_seconds",
            "From the request to the first byte of its answer",  # a stream's end says nothing about the service
            ["route"],
            registry=self._registry,
        )

        self._event_lag = Histogram(
            "toprung_event_lag_seconds",
            "From the writing of an event to its reading for the streams that watch",
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
            registry=self._registry,
        )

    def observe_events(self, events: Sequence[Event]) -> None:
        """Note how late new events were read: the oldest of them."""
        if events:
            self._event_lag.observe(max(0.0, (utc_now() - events[0].at).total_seconds()))

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
        now, found = utc_now(), self._store.standing()
        yield _gauge("toprung_sweeps", "Sweeps", found.sweeps)
        yield _gauge("toprung_trials", "Trials of sweeps that have not ended", found.trials)
        wait = "How long the sweep has waited that has waited longest in the queue"
        yield GaugeMetricFamily("toprung_queue_wait_seconds", wait, value=_age_s(found.queued_since, now))
        # of deleted sweeps too, so that these never go back
        yield CounterMetricFamily("toprung_trials_created", "Trials ever made", value=found.num_trials)
        yield CounterMetricFamily("toprung_results", "Results ever recorded", value=found.num_results)
        gpu_seconds = "GPU time of trials' attempts"
        yield CounterMetricFamily("toprung_gpu_seconds", gpu_seconds, value=found.gpu_hours * 3600)
        yield CounterMetricFamily("toprung_events", "Events ever written", value=found.last_event_id)
        yield _gauge("toprung_webhook_deliveries", "Webhook messages of the last 30 days", found.deliveries)
        age = "Age of the oldest webhook message that has not arrived and is still tried"
        yield GaugeMetricFamily("toprung_webhook_lag_seconds", age, value=_age_s(found.undelivered_since, now))


def _age_s(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max(0.0, (now - since).total_seconds())


def _gauge(name: str, text: str, values: Mapping[S, int]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=["state"])
    for state, value in values.items():
        family.add_metric([state.value], value)
    return family
