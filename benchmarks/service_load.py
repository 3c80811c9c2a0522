"""What 200 watchers and 50 reads a second cost a sweep, and how soon they are answered.

One service, sweeps of the same trials one after the other, alternately with and without load. A trial has up to 27
steps, each with some 10 ms of matrix products on one core and a wait of 40 ms, as for an accelerator, and ASHA (grace
period 3, reduction factor 3) stops it at 3 or 9 (`trainables/steps.py`); two at a time, on two CPUs that service,
trials and load share. A trial counts when its end is committed to the store.

The load: 200 streams of the sweep's events from its first event to its last. A quarter of the watchers are restless:
they leave after ten seconds on average, in the middle of whatever comes, and go on by Last-Event-ID. And 50 reads a
second at fixed times, however fast they are answered: the sweep, the list, trials by number and by value, the best,
decisions, a trial's results, the first two also with If-None-Match.

    without load, with load
        trials_per_s         between the first and the last end of a trial
        *_cpu                cores that a part of the service took: the HTTP replica, the controller
    with load
        clients_cpu          cores that the load itself took
        read_p50_ms, read_p99_ms, reads_per_s   from the moment when a read was due to the last byte of its answer
        events_per_s         that the watchers were sent together
        replica_mb           its resident memory before, at most under load, and after
        returns              streams that were taken up again

Summary: `errors` (answers other than 200, 204, 304; connections that broke; streams that ended early), `events_lost`
and `events_repeated` (over all watchers, against the store's list after the sweep's end),
`trials_per_s_ratio_under_load` (median of the rounds' ratios) and medians of the above.
"""

from __future__ import annotations

import asyncio
import statistics
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil
import toprung_service
from common import Row, parser, publish
from load_client import Load, Seen
from overhead import rate

from toprung import Client
from toprung.serve.home import Home
from toprung.serve.store import Store
from toprung.tuning.records import Event, TrialState

WITHOUT, WITH = "without load", "with load"
PARTS = {"replica": "ServeReplica", "controller": "::ControllerActor"}
SWEEP_S = 150


@dataclass(frozen=True)
class Size:
    rounds: int
    trials: int


QUICK = Size(rounds=1, trials=15)
FULL = Size(rounds=3, trials=40)


def spec(trials: int, wait_ms: int) -> dict[str, Any]:
    return {
        "name": "loaded",
        "trainable": "steps:train",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {
            "lr": {"type": "float", "low": 1e-4, "high": 1.0, "log": True},
            "width": {"type": "int", "low": 16, "high": 256},
            "max_t": 27,
            "products": 50,
            "wait_ms": wait_ms,
        },
        "search": {"seed": 0},
        "scheduler": {"type": "asha", "max_t": 27, "grace_period": 3, "reduction_factor": 3},
        "budget": {"trials": trials},
        "concurrency": 2,
        "resources": {"cpu": 1},
    }


class Bench:
    """A service and what is measured of it."""

    def __init__(self, service: toprung_service.Started, client: Client, watchers: int, reads_per_s: float) -> None:
        self._service, self._client = service, client
        self._watchers, self._reads_per_s = watchers, reads_per_s

    def sweep(self, trials: int, wait_ms: int, *, loaded: bool) -> tuple[dict[str, float], list[str]]:
        """Runs one sweep; returns its measures and the errors that the load met."""
        toprung_service.settle(self._service.process, cores=0.4)
        parts = dict(self._parts())
        memory = [parts["replica"].memory_info().rss]
        sweep_id = self._client.submit(spec(trials, wait_ms), code=toprung_service.HERE / "trainables").id
        before = self._cpu()
        load = Load(self._service.url, sweep_id)
        watchers, reads_per_s = (self._watchers, self._reads_per_s) if loaded else (1, 0.0)
        running = load.run(
            watchers=watchers, reads_per_s=reads_per_s, tick=lambda: memory.append(parts["replica"].memory_info().rss)
        )
        seen = asyncio.run(asyncio.wait_for(running, SWEEP_S))
        used = {part: (cpu - before.get(part, 0.0)) / seen.wall_s for part, cpu in self._cpu().items()}
        events = self._events(sweep_id)
        lost, repeated = compared(seen.watched, [event.id for event in events])
        ends = [event.at.timestamp() for event in events if is_end(event)]
        if len(ends) != trials:
            sys.exit(f"the sweep ended with {len(ends)} of {trials} trials")
        measures = {
            "trials_per_s": rate(ends),
            **{f"{part}_cpu": cores for part, cores in used.items()},
            "events_lost": lost,
            "events_repeated": repeated,
            "errors": len(seen.errors),
        }
        if loaded:
            measures |= of_load(seen, memory)
        return measures, seen.errors

    def _events(self, sweep_id: str) -> list[Event]:
        """The store's list, read past the service."""
        with closing(Store(Home.at(self._service.home).store_url)) as store:
            found: list[Event] = []
            while page := store.events_after(found[-1].id if found else 0, sweep_id=sweep_id):
                found += page
        return found

    def _parts(self) -> Iterator[tuple[str, psutil.Process]]:
        for process in self._service.process.children(recursive=True):
            with suppress(psutil.Error):
                title = "".join(process.cmdline()[:1])
                for part, sign in PARTS.items():
                    if sign in title:
                        yield part, process

    def _cpu(self) -> dict[str, float]:
        used: dict[str, float] = {}
        for part, process in self._parts():
            with suppress(psutil.Error):
                times = process.cpu_times()
                used[part] = used.get(part, 0.0) + times.user + times.system
        return used


def is_end(event: Event) -> bool:
    return event.type == "trial.state" and TrialState(event.data["state"]).finished


def compared(watched: list[list[int]], ids: list[int]) -> tuple[int, int]:
    """Events that watchers did not see, and those that came again or out of order."""
    lost = sum(len(set(ids) - set(each)) for each in watched)
    repeated = sum(later <= earlier for each in watched for earlier, later in pairwise(each))
    return lost, repeated


def of_load(seen: Seen, memory: list[int]) -> dict[str, float]:
    cuts = statistics.quantiles(seen.read_s, n=100)
    before, *during, after = (rss / 2**20 for rss in memory)
    return {
        "read_p50_ms": 1000 * cuts[49],
        "read_p99_ms": 1000 * cuts[98],
        "reads_per_s": len(seen.read_s) / seen.wall_s,
        "events_per_s": sum(map(len, seen.watched)) / seen.wall_s,
        "returns": seen.returns,
        "clients_cpu": seen.cpu_s / seen.wall_s,
        "replica_mb_before": before,
        "replica_mb_under_load": max(during, default=after),
        "replica_mb_after": after,
    }


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--watchers", type=int, default=200)
    arguments.add_argument("--reads", type=float, default=50.0, metavar="PER_S")
    arguments.add_argument("--wait-ms", type=int, default=40, help="of a step; with 0 the trials alone fill two cores")
    args = arguments.parse_args()
    size = QUICK if args.quick else FULL
    rounds: list[dict[str, dict[str, float]]] = []
    with toprung_service.started() as service, Client(service.url) as client:
        bench = Bench(service, client, args.watchers, args.reads)
        bench.sweep(4, args.wait_ms, loaded=False)  # the first one of a service loads more than others
        for number in range(size.rounds):
            measured = {}
            for contender in (WITHOUT, WITH) if number % 2 == 0 else (WITH, WITHOUT):
                print(f"{contender} …", file=sys.stderr, flush=True)
                measured[contender], errors = bench.sweep(size.trials, args.wait_ms, loaded=contender == WITH)
                print("\n".join(errors[:5]), file=sys.stderr, end="\n" if errors else "")
            rounds.append(measured)
    report(rounds, args.json)


def report(rounds: list[dict[str, dict[str, float]]], file: Path | None) -> None:
    rows = [
        Row(contender, name, unit_of(name), tuple(one[contender][name] for one in rounds))
        for name in rounds[0][WITH]
        for contender in (WITHOUT, WITH)
        if name in rounds[0][contender]
    ]
    loaded = {row.measure: row for row in rows if row.contender == WITH}
    ratios = [one[WITH]["trials_per_s"] / one[WITHOUT]["trials_per_s"] for one in rounds]
    medians = ("read_p50_ms", "read_p99_ms", "reads_per_s", "clients_cpu", "replica_mb_before", "replica_mb_under_load")
    summary = {
        **{name: sum(loaded[name].values) for name in ("errors", "events_lost", "events_repeated")},
        **{name: loaded[name].median for name in medians},
        "trials_per_s_ratio_under_load": statistics.median(ratios),
    }
    publish([*rows, Row("ratio", "trials_per_s", "", tuple(ratios))], summary, file)


def unit_of(measure: str) -> str:
    return next((unit for sign, unit in UNITS.items() if sign in measure), "")


UNITS = {"per_s": "1/s", "_ms": "ms", "_mb": "MB", "_cpu": "cores"}


if __name__ == "__main__":
    main()
