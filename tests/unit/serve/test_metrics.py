"""What Prometheus is told, and what the dashboard asks it for."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.cli.cli_served import Served, seeded, trial

from toprung.serve.home import Home
from toprung.serve.http.metrics import Metrics
from toprung.serve.store import Store
from toprung.tuning.records import Batch, Event, utc_now
from toprung.tuning.webhooks import WebhookEvent

ROOT = Path(__file__).parents[3]
DASHBOARD = json.loads((ROOT / "grafana" / "toprung.json").read_text())
NAME = re.compile(r"\b(?:toprung|process)_[a-z0-9_]+")
LABELS = re.compile(r"by \(([^)]*)\)|(\w+)\s*=~?\"")
FROM_THE_SCRAPE = {"job", "instance"}


@pytest.fixture
def served(store: Store, tmp_path: Path) -> Served:
    return seeded("", store, Home.at(tmp_path))


async def scraped(http: httpx.AsyncClient) -> dict[str, Metric]:
    await http.get("/v1/sweeps")
    text = (await http.get("/metrics")).text
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families: dict[str, Metric], name: str, **labels: str) -> float:
    found = [s for f in families.values() for s in f.samples if s.name == name and labels.items() <= s.labels.items()]
    assert len(found) == 1, (name, labels)
    return float(found[0].value)


async def test_how_the_service_stands(http: httpx.AsyncClient, store: Store, served: Served) -> None:
    spent = trial(served.running, 1, "running", gpu_hours=0.5)
    store.write(Batch(sweep_id=served.running.id, trials=[spent]))
    hook = store.webhooks.create("https://example.org/", events=tuple(WebhookEvent))
    store.webhooks.send_test(hook.id, "{}")
    found = await scraped(http)
    sweeps = {
        state: value(found, "toprung_sweeps", state=state) for state in ("queued", "running", "succeeded", "failed")
    }
    assert sweeps == {"queued": 1, "running": 1, "succeeded": 1, "failed": 0}
    assert value(found, "toprung_trials", state="running") == 2
    assert value(found, "toprung_trials", state="failed") == 0  # of the sweep that has ended
    assert value(found, "toprung_trials_created_total") == 5
    assert value(found, "toprung_results_total") == 4
    assert value(found, "toprung_gpu_seconds_total") == 1800
    assert 0 < value(found, "toprung_queue_wait_seconds") < 60
    assert value(found, "toprung_webhook_deliveries", state="pending") == 1
    assert 0 <= value(found, "toprung_webhook_lag_seconds") < 60
    assert value(found, "process_resident_memory_bytes") > 1_000_000

    await http.get("/v1/sweeps/digits-cnn/trials/2")
    store.delete_sweep(served.done.id)
    after = await scraped(http)
    assert value(after, "toprung_sweeps", state="succeeded") == 0
    assert value(after, "toprung_trials_created_total") == 5  # a counter doesn't go back
    assert value(after, "toprung_http_requests_total", route="/v1/sweeps/{sweep}/trials/{number}") == 1


async def test_a_sweep_that_is_queued_again_waits_since_then(
    http: httpx.AsyncClient, store: Store, served: Served
) -> None:
    store.request_cancel(served.queued.id)
    assert value(await scraped(http), "toprung_queue_wait_seconds") == 0
    store.edits.extend(served.done.id, {"trials": 60})
    said = [event for event in store.events_after(0, sweep_id=served.done.id) if event.type == "sweep.state"]
    assert store.standing().queued_since == said[-1].at > said[0].at


def test_how_late_events_are_read(store: Store) -> None:
    metrics = Metrics(store)
    late = Event(id=1, sweep_id="swp_1", type="warning", at=utc_now() - timedelta(seconds=3), data={})
    metrics.observe_events([late, late.model_copy(update={"at": utc_now()})])
    metrics.observe_events([])
    text = metrics.render().decode()
    assert 'toprung_event_lag_seconds_bucket{le="2.5"} 0.0' in text
    assert 'toprung_event_lag_seconds_bucket{le="5.0"} 1.0' in text


async def test_names_follow_the_conventions(http: httpx.AsyncClient, served: Served) -> None:
    for name, family in (await scraped(http)).items():
        assert family.documentation, name
        if family.type == "counter":
            assert all(sample.name.endswith(("_total", "_created")) for sample in family.samples), name
        else:
            assert not name.endswith("_total")
        assert not re.search(r"_(ms|milliseconds|minutes|hours|kb|mb)(_|$)", name)


async def test_every_metric_is_documented(http: httpx.AsyncClient, served: Served) -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    shown = set(re.findall(r"^\| `(toprung_\w+)`", page, re.MULTILINE))
    found = (await scraped(http)).values()
    # the client library adds when each series began
    named = [family for family in found if not family.name.endswith("_created") or family.type == "counter"]
    names = {family.name + ("_total" if family.type == "counter" else "") for family in named}
    assert {name for name in names if name.startswith("toprung_")} == shown


def queries() -> Iterator[str]:
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            yield variable["query"]["query"]


async def test_the_dashboard_asks_for_what_there_is(http: httpx.AsyncClient, served: Served) -> None:
    found = await scraped(http)
    labels: dict[str, set[str]] = {}
    for family in found.values():
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    labels["toprung_event_lag_seconds_bucket"] = {"le"}
    asked = list(queries())
    assert len(asked) > 15
    for query in asked:
        (name,) = set(NAME.findall(query))
        assert name in labels, query
        named = {part.strip() for by, one in LABELS.findall(query) for part in (by or one).split(",") if part.strip()}
        assert named <= labels[name] | FROM_THE_SCRAPE, query
        assert "rate(" in query or not name.endswith("_total"), query


def test_the_dashboard_has_a_place_for_each_panel() -> None:
    panels: list[dict[str, Any]] = DASHBOARD["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken
        assert max(x for x, _ in cells) < 24
        taken |= cells
