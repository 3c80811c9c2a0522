"""How fairly sweeps share a cluster: three with weights 1, 2 and 1, and an urgent one that comes late, twice.

Trials sleep for about two seconds and hold one of 16 places that Ray counts, whatever CPUs there are. The urgent sweep
has a higher priority and wants half of the places; the second time with `preemption: true`. What ran is rebuilt from
the service's events, ten times a second, and compared with ideal shares. These are found apart from the service's own,
by their definition: weighted max-min of as many trials as each sweep has left at the moment.

Windows, for each arrival: `before`, `comes` (from its submission until it has its full share), `urgent` (until it has
fewer trials left than places), `goes` (until the others have their full shares again), `after`. The first is counted
from when all places are taken once. Rows, by window:

    share of SWEEP       mean number of running trials; the ideal beside it
    jain_index           of the means, each divided by its ideal
    share_error_frac     largest distance of a mean from its ideal, as part of the ideal
    utilisation          running trials by places

and by arrival: first_trial_s (from the submission until a trial runs), full_share_s (until it has all it wants),
refilled_s (from its last trial's end until the others have their full shares).

Summary: jain_index and utilisation (lowest of the windows between changes), share_error_frac (largest of these),
jain_index_over_time and utilisation_over_time (means of the values at each moment, changes included), the three times.
"""

from __future__ import annotations

import contextlib
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import toprung_service
from common import Row, parser, publish
from fair_plot import draw
from fair_shares import Counts, Span, Wish, ideal, jain, mean, running

from toprung import Client
from toprung.client import SweepHandle
from toprung.tuning.records import TrialState

HERE = Path(__file__).parent
WEIGHTS = {"a": 1.0, "b": 2.0, "c": 1.0}
TRIAL_S, STEPS = 2.0, 4
SAMPLE_S = 0.1
START_S, END_S = 300.0, 120.0
ENDLESS = 100_000


@dataclass(frozen=True)
class Size:
    """How large it all is.

    Attributes:
        rounds: of trials of the urgent sweep, which has half of the places.
        quiet_s: how long it lasts before, between and after arrivals.
        arrivals: whether the urgent sweep asks for preemption, for each time it comes.
    """

    places: int
    rounds: int
    quiet_s: float
    arrivals: tuple[bool, ...]


FULL = Size(places=16, rounds=8, quiet_s=12.0, arrivals=(False, True))
QUICK = Size(places=8, rounds=4, quiet_s=4.0, arrivals=(True,))


@dataclass(frozen=True)
class Window:
    """A part of the time that is looked at alone."""

    name: str
    begin_s: float
    end_s: float


@dataclass(frozen=True)
class Seen:
    """What happened, in seconds since the first sweep was submitted."""

    wishes: dict[str, Wish]
    spans: list[Span]
    arrivals: dict[str, float]
    """By urgent sweep: when it was submitted."""
    full_s: float
    """When all places were taken for the first time."""
    end_s: float


# ---- the run


def spec(name: str, trials: int, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "trainable": "sleeper:sleeps",
        "metric": {"name": "value", "goal": "minimize"},
        "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}, "seconds": TRIAL_S, "steps": STEPS},
        "search": {"algorithm": "random"},
        "scheduler": {"type": "none"},
        "budget": {"trials": trials},
        "tracking": {"tensorboard": False},
        **changes,
    }


def watch(size: Size) -> Seen:
    """Starts a service, has the sweeps run and reads what happened."""
    half = size.places // 2
    wishes = {name: Wish(weight, 0, size.places, ENDLESS) for name, weight in WEIGHTS.items()}
    with toprung_service.started(num_cpus=size.places) as (url, _, _), Client(url) as client:
        began = time.time()

        def submit(name: str, trials: int, **changes: Any) -> SweepHandle:
            return client.submit(spec(name, trials, **changes), code=HERE / "trainables")

        sweeps = {name: submit(name, ENDLESS, weight=weight) for name, weight in WEIGHTS.items()}
        wait_for_places(list(sweeps.values()), size.places)
        full_s, arrivals = time.time() - began, {}
        for preemption in size.arrivals:
            time.sleep(size.quiet_s)
            name = "urgent, preemption" if preemption else "urgent"
            arrivals[name] = time.time() - began
            trials = size.rounds * half
            wishes[name] = Wish(1.0, 10, half, trials)
            sweeps[name] = submit(name.split(",")[0], trials, priority=10, concurrency=half, preemption=preemption)
            sweeps[name].wait(timeout_s=END_S, progress=False)
            wait_for_places([sweeps[name] for name in WEIGHTS], size.places)
        time.sleep(size.quiet_s)
        end_s = time.time() - began
        for name in WEIGHTS:
            sweeps[name].cancel()
        spans = [span for name, sweep in sweeps.items() for span in spans_of(name, sweep, began)]
    return Seen(wishes, spans, arrivals, full_s, end_s)


def wait_for_places(sweeps: Sequence[SweepHandle], places: int) -> None:
    deadline = time.monotonic() + START_S
    while sum(sweep.refresh().trials.get(TrialState.RUNNING, 0) for sweep in sweeps) < places:
        if time.monotonic() > deadline:
            sys.exit(f"{places} trials did not run at once within {START_S:g} s: {[sweep.record for sweep in sweeps]}")
        time.sleep(SAMPLE_S)


def spans_of(name: str, sweep: SweepHandle, began: float) -> Iterator[Span]:
    """When its trials ran, by its events: each is written within a tenth of a second."""
    since: dict[int, float] = {}
    with contextlib.closing(sweep.events()) as events:
        for event in events:
            if event.type != "trial.state":
                continue
            at, number = event.at.timestamp() - began, event.data["number"]
            if number in since:
                yield Span(name, since.pop(number), at)
            if event.data["state"] == TrialState.RUNNING:
                since[number] = at


# ---- what it comes to


@dataclass(frozen=True)
class Samples:
    """Counts of running trials, and what would be fair, at the same times."""

    times: list[float]
    had: list[Counts]
    fair: list[Counts]

    def within(self, window: Window) -> Samples:
        inside = [i for i, at in enumerate(self.times) if window.begin_s <= at < window.end_s]
        return Samples(*([series[i] for i in inside] for series in (self.times, self.had, self.fair)))


def samples(seen: Seen, places: int) -> Samples:
    times = [seen.full_s + i * SAMPLE_S for i in range(int((seen.end_s - seen.full_s) / SAMPLE_S))]
    return Samples(times, running(seen.spans, times), [ideal(places, seen.wishes, wanted(seen, at)) for at in times])


def wanted(seen: Seen, at: float) -> Counts:
    """How many trials each sweep could have at a time: it is there, and has so many left."""
    demand = {}
    for name, wish in seen.wishes.items():
        left = wish.num_trials - sum(span.sweep == name and span.end_s <= at for span in seen.spans)
        if left and at >= seen.arrivals.get(name, 0.0):
            demand[name] = min(wish.most, left)
    return demand


def windows(seen: Seen, every: Samples) -> Iterator[Window]:
    """All the time in parts; those with a settled state have the names `before`, `urgent` and `after`."""
    begin = seen.full_s
    for name, arrival in seen.arrivals.items():
        yield Window("after" if begin > seen.full_s else "before", begin, arrival)
        waits, most, gone = waits_of(name, seen, every), seen.wishes[name].most, gone_s(name, seen)
        full = arrival + waits["full_share_s"]
        few_left = next((at for at in every.times if at > full and wanted(seen, at).get(name, 0.0) < most), full)
        begin = gone + waits["refilled_s"]
        yield Window(f"{name}: comes", arrival, full)
        yield Window(name, full, few_left)
        yield Window(f"{name}: goes", few_left, begin)
    yield Window("after", begin, seen.end_s)


def gone_s(name: str, seen: Seen) -> float:
    return max(span.end_s for span in seen.spans if span.sweep == name)


def waits_of(name: str, seen: Seen, every: Samples) -> dict[str, float]:
    """How long it took until a sweep had its first trial and its full share, and until the others had theirs back."""
    arrival, gone, most = seen.arrivals[name], gone_s(name, seen), seen.wishes[name].most
    moments = list(zip(*vars(every).values(), strict=True))
    full = (at for at, had, _ in moments if had.get(name, 0.0) >= most)
    refilled = (
        at for at, had, fair in moments if at >= gone and all(had.get(n, 0.0) >= s - 0.5 for n, s in fair.items())
    )
    return {
        "first_trial_s": min(span.begin_s for span in seen.spans if span.sweep == name) - arrival,
        "full_share_s": next(full, gone) - arrival,  # on a machine too slow for it: never
        "refilled_s": next(refilled, seen.end_s) - gone,
    }


def index(had: Counts, fair: Counts) -> float:
    return jain(had.get(name, 0.0) / share for name, share in fair.items())


def utilisation(part: Samples, places: int) -> float:
    return statistics.fmean(sum(had.values()) / places for had in part.had)


def measure(seen: Seen, size: Size) -> tuple[list[Row], dict[str, float]]:
    every = samples(seen, size.places)
    rows: list[Row] = []
    settled: list[dict[str, float]] = []
    for number, window in enumerate(windows(seen, every), start=1):
        part = every.within(window)
        if not part.times:
            continue
        had, fair = mean(part.had), mean(part.fair)
        label = f"{number} {window.name}"
        found = {
            "jain_index": index(had, fair),
            "share_error_frac": max(abs(had.get(name, 0.0) / share - 1) for name, share in fair.items()),
            "utilisation": utilisation(part, size.places),
        }
        for name in seen.wishes:
            if name in fair:
                rows.append(Row(label, f"share of {name}", f"ideal {fair[name]:.2f}", (had.get(name, 0.0),)))
        rows += [Row(label, name, f"{window.end_s - window.begin_s:.0f} s", (value,)) for name, value in found.items()]
        if ":" not in window.name:
            settled.append(found)
    summary = {
        "jain_index": min(one["jain_index"] for one in settled),
        "share_error_frac": max(one["share_error_frac"] for one in settled),
        "utilisation": min(one["utilisation"] for one in settled),
        "jain_index_over_time": statistics.fmean(map(index, every.had, every.fair)),
        "utilisation_over_time": utilisation(every, size.places),
    }
    for name in seen.arrivals:
        waits = waits_of(name, seen, every)
        rows += [Row(name, measure, "s", (wait,)) for measure, wait in waits.items()]
        suffix = "_preemption" if "preemption" in name else ""
        summary |= {f"{measure}{suffix}": wait for measure, wait in waits.items()}
    return rows, summary


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--svg", type=Path, metavar="FILE", help="draw the shares over time there")
    args = options.parse_args()
    size = QUICK if args.quick else FULL
    seen = watch(size)
    if args.svg is not None:
        every = samples(seen, size.places)
        args.svg.write_text(draw(every.times, every.had, every.fair, list(seen.wishes), size.places), encoding="utf-8")
    publish(*measure(seen, size), args.json)


if __name__ == "__main__":
    main()
