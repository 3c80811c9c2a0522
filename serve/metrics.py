"""What Prometheus reads at `/metrics`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.responses import Response

from toprung.serve.store import Store
from toprung.tuning.records import SweepState


class Metrics:
    """Requests as they come, sweeps as the store has them when it is asked."""

    def __init__(self, store: Store) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Sweeps(store))
        self._requests = Counter(
            "toprung_http_requests", "HTTP requests.", ["method", "route", "status"], registry=self.registry
        )
        self._seconds = Histogram(
            "toprung_http_request_seconds", "Time to the head of the answer.", ["route"], registry=self.registry
        )

    async def measure(self, request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        """Middleware: counts a request by its route's template, so that ids don't make labels."""
        started = time.perf_counter()
        response = await call_next(request)
        route = getattr(request.scope.get("route"), "path", "none")
        self._requests.labels(request.method, route, response.status_code).inc()
        self._seconds.labels(route).observe(time.perf_counter() - started)
        return response


class _Sweeps(Collector):
    def __init__(self, store: Store) -> None:
        self._store = store

    def collect(self) -> Iterable[GaugeMetricFamily]:
        unfinished = self._store.sweeps_in([SweepState.QUEUED, SweepState.RUNNING])
        sweeps = GaugeMetricFamily("toprung_sweeps", "Unfinished sweeps.", labels=["state"])
        for state in (SweepState.QUEUED, SweepState.RUNNING):
            sweeps.add_metric([state], sum(sweep.state is state for sweep in unfinished))
        trials = GaugeMetricFamily("toprung_trials", "Trials of unfinished sweeps.", labels=["state"])
        counts: dict[str, int] = {}
        for sweep in unfinished:
            for trial_state, count in sweep.trials.items():
                counts[trial_state] = counts.get(trial_state, 0) + count
        for name, count in counts.items():
            trials.add_metric([name], count)
        return [sweeps, trials]
