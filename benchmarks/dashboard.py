"""How fast the page of a sweep is at 1,000, 10,000 and 50,000 trials, beside optuna-dashboard on the same study.

A sweep of 50,000 trials has 1,000,000 results. Both serve from SQLite on this machine; Chromium, without a window, asks
them over loopback. Each round is a new server process and a new browser context: nothing is warm but the disk.

    first_view_s      from the address to the page's heading and the first rows of the table of trials
                      (optuna-dashboard: to its heading and the best trial)
    first_figures_s   from the address to the first charts: best so far and rungs; optuna-dashboard's history
    filter_ms         an expression is entered: to the table of what it leaves
    sort_ms           a column's heading is pressed: to the table in its order
    scroll_ms         to the middle of the table: to the rows there
    brush_ms          an axis of the parallel coordinates is brushed: to the table of what is left
    brush_figures_ms  the same, to the other charts of that tab that are in view
    server_rss_mb     the server's resident memory afterwards

What has taken WAIT_S is given up and counts as that. Toprung's server is its HTTP application alone, without the
cluster that `toprung up` has beside it. Summary: the medians at the largest size, Toprung's `interaction_ms` the
largest of filter, sort, scroll and brush, and optuna-dashboard's beside them.

`--quick`: 1,000 and 50,000 trials, one round. optuna-dashboard (requirements-dashboard.txt) is left out where it is not
installed; Chromium and Playwright are needed.
"""

from __future__ import annotations

import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from common import Row, parser, publish
from dashboard_sweeps import fill_optuna, fill_store
from playwright.sync_api import Browser, Page, TimeoutError, sync_playwright

TOPRUNG, OPTUNA = "toprung", "optuna-dashboard"
WAIT_S = 60.0
_QUIET_MS = 3_000
"""Between two measures: a page that is followed live has no moment at which its network is idle."""
_SIZE = {"width": 1280, "height": 900}
_UNTIL = """async ([action, done, limit]) => {
  const run = new Function("return (" + done + ")()");
  const began = performance.now();
  new Function("return (" + action + ")()")();
  while (!run()) {
    if (performance.now() - began > limit) return limit;
    await new Promise((resolve) => requestAnimationFrame(resolve));
  }
  return performance.now() - began;
}"""
"""Does something in the page, and waits frame by frame until it shows."""

Measures = dict[str, float]


@contextmanager
def served(command: list[str], port: int) -> Iterator[psutil.Process]:
    """A server that answers."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + WAIT_S
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5):
                    break
            except OSError:
                assert process.poll() is None, f"{command} ended"
                assert time.monotonic() < deadline, f"{command} does not answer"
                time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@contextmanager
def opened(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport=_SIZE, reduced_motion="reduce")  # type: ignore[arg-type]
    page = context.new_page()
    page.set_default_timeout(WAIT_S * 1000)
    yield page
    context.close()


def until(page: Page, url: str, ready: str) -> float:
    """Seconds from an address to the moment when something of its page is there."""
    began = time.perf_counter()
    try:
        page.goto(url, wait_until="commit")
        page.wait_for_function(ready, timeout=WAIT_S * 1000)
    except TimeoutError:
        return WAIT_S
    return time.perf_counter() - began


def shows(page: Page, action: str, done: str) -> float:
    """Milliseconds from an action in the page to what it is to show."""
    found: float = page.evaluate(_UNTIL, [action, done, WAIT_S * 1000])
    return found


_ROWS = "[...document.querySelectorAll('.grid-body .grid-row')].filter((row) => row.row)"
_TOTAL = "document.querySelector('.grid').getAttribute('aria-rowcount')"
_FIRST_FIGURES = (
    "document.querySelectorAll('[data-figure=best][data-drawn], [data-figure=rungs][data-drawn]').length == 2"
)


def toprung_round(browser: Browser, home: Path, sweep: str) -> Measures:
    port = free_port()
    command = [sys.executable, str(Path(__file__).with_name("dashboard_server.py")), str(home), str(port)]
    address = f"http://127.0.0.1:{port}/sweeps/{sweep}"
    found: Measures = {}
    with served(command, port) as server:
        with opened(browser) as page:
            began = time.perf_counter()
            found["first_view_s"] = until(page, address, f"() => document.querySelector('h1') && {_ROWS}.length > 5")
            page.wait_for_function(f"() => {_FIRST_FIGURES}")
            found["first_figures_s"] = time.perf_counter() - began
            page.wait_for_timeout(_QUIET_MS)
            found |= _toprung_interaction(page)
        with opened(browser) as page:
            until(
                page, f"{address}?tab=parameters", "() => document.querySelector('[data-figure=parallel][data-drawn]')"
            )
            page.wait_for_timeout(_QUIET_MS)
            found |= _toprung_brush(page)
        found["server_rss_mb"] = server.memory_info().rss / 1e6
    return found


def _toprung_interaction(page: Page) -> Measures:
    first = f"{_ROWS}.find((row) => row.getAttribute('aria-rowindex') == 2)?.row"
    press = (
        "() => {{ window.before = {first}; "
        "[...document.querySelectorAll('.grid-head button')].find((b) => b.title == 'Sort by {name}').click(); }}"
    )
    other = f"() => {{ const row = {first}; return row && row[0] != window.before[0]; }}"
    sorts = [shows(page, press.format(first=first, name=name), other) for name in ("value", "lr", "optimizer", "value")]
    scroll = (
        "() => { const grid = document.querySelector('.grid'); grid.scrollTop = grid.scrollHeight * %s; }",
        f"() => {{ const rows = [...document.querySelectorAll('.grid-body .grid-row')];"
        f" const total = Number({_TOTAL}) - 1; return rows.length > 5 && rows.every((row) => row.row) &&"
        f" Math.abs(Number(rows[0].getAttribute('aria-rowindex')) / total - %s) < 0.1; }}",
    )
    scrolls = [shows(page, scroll[0] % part, scroll[1] % part) for part in (0.5, 0.8, 0.3)]
    enter = (
        "() => {{ window.before = {total}; const field = document.querySelector('#filter'); field.value = {text};"
        " field.form.requestSubmit(); }}"
    )
    filters = []
    for text in ('val_loss < 1 and optimizer == "adam"', "depth > 4 and lr < 0.01", "dropout < 0.3 and momentum > 0.5"):
        filters.append(shows(page, enter.format(total=_TOTAL, text=repr(text)), f"() => {_TOTAL} != window.before"))
        page.wait_for_timeout(_QUIET_MS)  # the charts of this one are not what the next one waits for
    return {
        "filter_ms": statistics.median(filters),
        "sort_ms": statistics.median(sorts),
        "scroll_ms": statistics.median(scrolls),
    }


def _toprung_brush(page: Page) -> Measures:
    """By plotly's own event, as at the end of a drag."""
    brush = (
        "() => {{ window.before = {total}; window.drawings = 0;"
        " document.querySelectorAll('.plot').forEach((plot) => plot.dataset.counted || (plot.dataset.counted = 1,"
        " plot.on && plot.on('plotly_afterplot', () => plot.closest('[data-figure=parallel]') || window.drawings++)));"
        " const plot = document.querySelector('[data-figure=parallel] .js-plotly-plot') ||"
        " document.querySelector('[data-figure=parallel] .plot');"
        " const range = [[{low}, {high}]]; plot.data[0].dimensions[{at}].constraintrange = range[0];"
        " plot.emit('plotly_restyle', [{{'dimensions[{at}].constraintrange': range}}, [0]]); }}"
    )
    tables, figures = [], []
    for at, low, high in ((4, 2.5, 6.5), (4, 1.5, 4.5), (0, -3, -2)):
        began = brush.format(total=_TOTAL, at=at, low=low, high=high)
        tables.append(shows(page, began, f"() => {_TOTAL} != window.before"))
        page.wait_for_timeout(_QUIET_MS)
        began = brush.format(total=_TOTAL, at=at, low=low + 1, high=high + 1)
        figures.append(shows(page, began, f"() => {_TOTAL} != window.before && window.drawings > 0"))
        page.wait_for_timeout(_QUIET_MS)
    return {"brush_ms": statistics.median(tables), "brush_figures_ms": statistics.median(figures)}


def optuna_round(browser: Browser, url: str) -> Measures:
    port = free_port()
    program = shutil.which(OPTUNA, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    assert program is not None
    address = f"http://127.0.0.1:{port}/dashboard/studies/1"
    found: Measures = {}
    with served([program, url, "--port", str(port), "--server", "wsgiref"], port) as server:
        with opened(browser) as page:
            began = time.perf_counter()
            found["first_view_s"] = until(page, address, "() => /Best Trial/.test(document.body.innerText)")
            drawn = (
                "[...document.querySelectorAll('.js-plotly-plot')].some((plot) => plot.data?.some((t) => t.x?.length))"
            )
            with suppress(TimeoutError):
                page.wait_for_function(f"() => {drawn}", timeout=WAIT_S * 1000)
            found["first_figures_s"] = time.perf_counter() - began
        found["server_rss_mb"] = server.memory_info().rss / 1e6
    return found


def measured(name: str, rounds: int, one: Callable[[], Measures]) -> list[Row]:
    each = [one() for _ in range(rounds)]
    print(f"  {name}: {each}", flush=True)
    measures = dict.fromkeys(measure for found in each for measure in found)
    return [
        Row(name, measure, measure.rpartition("_")[2], tuple(found[measure] for found in each if measure in found))
        for measure in measures
    ]


def summary_of(rows: list[Row], size: int) -> dict[str, float]:
    medians = {(row.contender, row.measure): row.median for row in rows}
    ours = {measure: value for (name, measure), value in medians.items() if name == f"{TOPRUNG} {size}"}
    theirs = {measure: value for (name, measure), value in medians.items() if name == f"{OPTUNA} {size}"}
    interaction = max(ours[name] for name in ("filter_ms", "sort_ms", "scroll_ms", "brush_ms"))
    summary = {
        f"first_view_s_at_{size}": ours["first_view_s"],
        f"first_figures_s_at_{size}": ours["first_figures_s"],
        f"interaction_ms_at_{size}": interaction,
        f"brush_figures_ms_at_{size}": ours["brush_figures_ms"],
        f"server_rss_mb_at_{size}": ours["server_rss_mb"],
    }
    return summary | {f"optuna_dashboard_{measure}_at_{size}": value for measure, value in theirs.items()}


def main(arguments: Any) -> None:
    sizes, rounds = ((1_000, 50_000), 1) if arguments.quick else ((1_000, 10_000, 50_000), 3)
    sizes = tuple(arguments.sizes) if arguments.sizes else sizes
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    sys.exit("no Chromium is installed: apt-get install chromium") if chromium is None else None
    with_optuna = shutil.which(OPTUNA, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    rows: list[Row] = []
    flags = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.getuid() == 0 else [])]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=flags)
        for size in sizes:
            home = Path(folder) / str(size)
            home.mkdir()
            sweep, results = fill_store(f"sqlite:///{home}/toprung.db", size)
            print(f"{size:,} trials, {results:,} results", flush=True)
            rows += measured(
                f"{TOPRUNG} {size}", rounds, lambda home=home, sweep=sweep: toprung_round(browser, home, sweep)
            )  # type: ignore[misc]
            if with_optuna:
                url = fill_optuna(home / "optuna.db", size)
                rows += measured(f"{OPTUNA} {size}", min(rounds, 2), lambda url=url: optuna_round(browser, url))  # type: ignore[misc]
        browser.close()
    if not with_optuna:
        print("optuna-dashboard is not installed: pip install -r benchmarks/requirements-dashboard.txt")
    publish(rows, summary_of(rows, sizes[-1]), arguments.json)


if __name__ == "__main__":
    made = parser(__doc__)
    made.add_argument("--sizes", type=int, nargs="+", metavar="N", help="trials of the sweeps, rising")
    main(made.parse_args())
