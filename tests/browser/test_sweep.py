"""The page of one sweep, as a person uses it: in a browser, on the real application over a store, without a cluster."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import DRAWN_MS, NARROW, asked_in, asks, told
from tests.browser.growing import Growing
from tests.browser.serving import Served, page_of, serving
from tests.integration.conftest import until
from toprung.serve.store import Store
from toprung.tuning.records import SweepState

pytestmark = pytest.mark.slow
EXPECTED_REFUSALS = {r"/v1/sweeps/swp_\w+/table": {400}, r"/v1/sweeps/swp_\w+": {412}}
"""A filter that is wrong, and an edit after another's."""


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("sweep")) as served:
        yield served


@pytest.fixture(scope="module")
def store(served: Served) -> Store:
    return served.store


@pytest.fixture
def page(chromium: Browser, served: Served) -> Iterator[Page]:
    with page_of(chromium, served.url, EXPECTED_REFUSALS) as page:
        yield page


@pytest.fixture(scope="module")
def grown(store: Store) -> Growing:
    """A sweep to look at."""
    sweep = Growing(store)
    sweep.grow(110)
    return sweep


@pytest.fixture
def growing(store: Store) -> Growing:
    """A sweep that has begun."""
    sweep = Growing(store, budget={"trials": 40})
    sweep.grow(30)
    return sweep


def cells(page: Page, column: str) -> list[str]:
    """What the rows in view show in a column at this moment, from the top."""
    found: list[str] = page.evaluate(
        """(column) => {
            const headers = [...document.querySelectorAll('.grid-head button')];
            const at = headers.findIndex((button) => button.title === `Sort by ${column}`);
            return [...document.querySelectorAll('.grid-body .grid-row')]
                .filter((row) => row.row)
                .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
                .map((row) => row.children[at]?.textContent);
        }""",
        column,
    )
    return found


def ordered(page: Page, *, descending: bool) -> None:
    """Waits until the rows in view are in the order of their values."""

    def is_so() -> bool:
        values = [float(text) for text in cells(page, "value")]
        return bool(values) and values == sorted(values, reverse=descending)

    until(is_so, what="rows in order")


def drawn(page: Page, figure: str) -> None:
    expect(page.locator(f'[data-figure="{figure}"][data-drawn]')).to_be_visible(timeout=DRAWN_MS)


def brush(page: Page) -> None:
    """Keeps the middle of the first axis of the parallel coordinates, by the mouse."""
    drawn(page, "parallel")
    axis = page.locator('[data-figure="parallel"] .axis-brush').first
    axis.scroll_into_view_if_needed()
    box = axis.bounding_box()
    assert box is not None
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, box["y"] + box["height"] * 0.3)
    page.mouse.down()
    page.mouse.move(x, box["y"] + box["height"] * 0.7, steps=5)
    page.mouse.up()
    expect(page.locator(".chip.brush")).to_contain_text("lr: ")


def brushed(page: Page) -> list[float] | None:
    """What plotly has brushed of the first axis."""
    found: list[float] | None = page.evaluate(
        "document.querySelector('[data-figure=parallel] .plot').data[0].dimensions[0].constraintrange ?? null"
    )
    return found


def test_a_page_that_was_opened_before_the_first_trial(page: Page, store: Store) -> None:
    sweep = Growing(store)
    page.goto(f"/sweeps/{sweep.id}?columns=number,state,optimizer")
    expect(page.locator(".trials .count")).to_contain_text("No trials yet")
    sweep.grow(10)
    # the same columns, but only now is it known which of them are text
    until(lambda: bool(found := cells(page, "optimizer")) and set(found) <= {"sgd", "adam"}, what="optimizers")


def test_trials_arrive(page: Page, growing: Growing) -> None:
    page.goto(f"/sweeps/{growing.id}")
    begun = sum(growing.sweep.trials.values())
    expect(page.locator(".trials .count")).to_have_text(f"{begun} trials")
    drawn(page, "best")
    drawn(page, "rungs")
    page.evaluate("window.kept = document.querySelector('.grid-body .grid-row')")
    growing.grow(40)
    more = sum(growing.sweep.trials.values())
    assert more > begun
    expect(page.locator(".trials .count")).to_have_text(f"{more} trials")
    best = growing.sweep.best
    assert best is not None
    expect(page.locator(".facts")).to_contain_text(f"trial {best.number}, step {best.step}")
    assert page.evaluate("window.kept.isConnected"), "rows are filled anew, not made anew"


def test_a_filter_and_what_is_wrong_with_one(page: Page, grown: Growing) -> None:
    page.goto(f"/sweeps/{grown.id}")
    expect(page.locator(".grid-body .grid-row").first).to_be_visible()
    page.keyboard.press("/")
    expect(page.locator("#filter")).to_be_focused()
    page.keyboard.type('optimiser == "adam"')
    page.keyboard.press("Enter")
    expect(page.locator("#filter-problem")).to_contain_text("did you mean optimizer")
    assert "filter" not in asked_in(page), "the one before stays"
    page.fill("#filter", 'optimizer == "adam"')
    page.keyboard.press("Enter")
    expect(page.locator(".trials .count")).to_have_text(re.compile(r"^\d+ of \d+ trials$"))
    expect(page.locator("#filter-problem")).to_be_empty()
    asks(page, filter='optimizer == "adam"')
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert rows, "a download without rows"
    assert {row["optimizer"] for row in rows} == {"adam"}, "it has what the filter leaves"


def test_a_brush_filters_everything(page: Page, grown: Growing) -> None:
    page.set_viewport_size({"width": 1280, "height": 2_400})  # all of the tab's figures are in view
    page.goto(f"/sweeps/{grown.id}?tab=parameters")
    drawn(page, "parallel")
    drawn(page, "contour")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url.split("/")[-1]) if "/figures/" in request.url else None)
    with page.expect_request(lambda request: "/figures/contour?filter=" in request.url):
        brush(page)
    expect(page.locator(".trials .count")).to_have_text(re.compile(r"^\d+ of \d+ trials$"))
    with page.expect_response(lambda answer: "parameter=batch_size" in answer.url):  # it would come after that
        page.locator("#slice-parameter").select_option("batch_size")
    assert not [url for url in asked if url.startswith("parallel")], "it shows what is brushed out as well"
    [(low, high)] = json.loads(asked_in(page)["brush"][0])["lr"]
    assert 1e-4 < low < high < 1e-1

    page.reload()  # a link shows a colleague the same
    expect(page.locator(".chip.brush")).to_contain_text("lr: ")
    drawn(page, "parallel")
    shown = brushed(page)
    assert shown is not None
    assert len(shown) == 2
    page.get_by_role("button", name="Don't filter by lr").click()
    expect(page.locator(".trials .count")).to_have_text(re.compile(r"^\d+ trials$"))
    asks(page, brush=None)
    until(lambda: brushed(page) is None, what="an axis without a brush")


def test_a_brush_by_hand_is_taken_away(page: Page, grown: Growing) -> None:
    page.goto(f"/sweeps/{grown.id}?tab=parameters")
    brush(page)
    assert brushed(page) is not None
    page.get_by_role("button", name="Don't filter by lr").click()
    expect(page.locator(".chip.brush")).to_have_count(0)
    until(lambda: brushed(page) is None, what="an axis without a brush")


def test_a_deep_link(page: Page, grown: Growing) -> None:
    page.goto(f"/sweeps/{grown.id}?filter=step+%3E%3D+3&sort=value&columns=number,state,step,value,lr&trial=7")
    expect(page.locator("#filter")).to_have_value("step >= 3")
    expect(page.locator('[role="columnheader"]')).to_have_count(5)
    expect(page.locator('[aria-sort="ascending"]')).to_have_text(re.compile("value"))
    ordered(page, descending=False)
    page.locator('[role="columnheader"] button[title="Sort by value"]').click()
    expect(page.locator('[aria-sort="descending"]')).to_have_text(re.compile("value"))
    asks(page, desc="1")
    page.reload()
    expect(page.locator('[aria-sort="descending"]')).to_have_text(re.compile("value"))
    ordered(page, descending=True)
    expect(page.locator(".trials .count")).to_have_text(re.compile(r"^\d+ of \d+ trials$"))
    assert min(map(int, cells(page, "step"))) == 3, "the filter leaves out what has fewer steps"
    expect(page.get_by_role("link", name="Open trial 7", exact=True)).to_be_visible()
    page.locator("summary", has_text="Columns").click()
    page.get_by_label("optimizer", exact=True).check()
    expect(page.locator('[role="columnheader"]')).to_have_count(6)
    asks(page, columns="number,state,step,value,lr,optimizer")


def test_why_in_words(page: Page, grown: Growing) -> None:
    page.goto(f"/sweeps/{grown.id}")
    drawn(page, "rungs")
    rungs = page.locator('[data-figure="rungs"]')
    point = rungs.locator(".points path.point").first
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    why = rungs.locator(".hovertext")

    def pointed_at() -> str | None:
        """The trial; plotly misses a pointer that comes while it is at something else, and not one that moves again."""
        page.mouse.move(x + 1, y)
        page.mouse.move(x, y)
        found = re.search(r"trial (\d+) .*rung 1", " ".join(why.all_text_contents()))
        return found and found[1]

    number = until(pointed_at, what="why a trial stands where it does")
    page.mouse.click(x, y)
    expect(page.get_by_role("heading", name=f"Trial {number}", exact=True)).to_be_visible()


def test_the_best_configuration_is_copied(page: Page, grown: Growing, store: Store) -> None:
    best = grown.sweep.best
    assert best is not None
    config = store.get_trial(grown.id, best.number).config
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"/sweeps/{grown.id}")
    readers: dict[str, Callable[[str], Any]] = {"YAML": yaml.safe_load, "JSON": json.loads, "Python": of_python}
    for times, (name, read) in enumerate(readers.items(), 1):
        page.get_by_label("More actions").click()
        page.get_by_role("button", name=f"Copy best as {name}").click()
        told(page, f"trial {best.number} is copied", times=times)
        assert read(page.evaluate("navigator.clipboard.readText()")) == config


def of_python(text: str) -> Any:
    """The value of an assignment."""
    return ast.literal_eval(text.removeprefix("config = "))


def test_the_table_by_keyboard(page: Page, grown: Growing) -> None:
    page.goto(f"/sweeps/{grown.id}")
    expect(page.locator("#row-0")).to_be_visible()
    page.locator(".grid").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#row-1")).to_have_attribute("aria-selected", "true")
    asks(page, trial="1")
    page.keyboard.press("End")
    last = sum(grown.sweep.trials.values()) - 1
    expect(page.locator(f"#row-{last}")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Home")
    expect(page.locator("#row-0")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Trial 0", exact=True)).to_be_visible()


def test_pause_resume_cancel(page: Page, growing: Growing, store: Store) -> None:
    page.goto(f"/sweeps/{growing.id}")
    page.get_by_role("button", name="Pause", exact=True).click()
    expect(page.locator(".sweep-why")).to_contain_text("It is pausing")
    assert growing.sweep.pause_requested
    store.set_sweep_state(growing.id, SweepState.PAUSED)
    page.get_by_role("button", name="Resume", exact=True).click()
    expect(page.locator(".sweep-head .chip")).to_contain_text("queued")
    store.set_sweep_state(growing.id, SweepState.RUNNING)
    expect(page.locator(".sweep-head .chip")).to_contain_text("running")
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the sweep").click()
    expect(page.locator(".sweep-why")).to_contain_text("being cancelled")
    assert growing.sweep.cancel_requested


def test_stop_and_enqueue_a_copy(page: Page, growing: Growing, store: Store) -> None:
    running = next(t.number for t in store.list_trials(growing.id).items if t.state == "running")
    page.goto(f"/sweeps/{growing.id}?trial={running}&filter=state+%3D%3D+%22running%22")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Stop it").click()
    told(page, f"Trial {running} is asked to stop")
    assert store.get_trial(growing.id, running).stop_requested
    page.get_by_role("button", name="Enqueue a copy").click()
    page.get_by_role("dialog").get_by_label("lr", exact=True).fill("0.02")
    page.get_by_role("button", name="Enqueue it").click()
    told(page, "enqueued")
    requests, _ = store.edits.orders(growing.id)
    [asked] = requests
    assert asked.params["lr"] == 0.02
    assert asked.params["optimizer"] == store.get_trial(growing.id, running).params["optimizer"]


def test_another_ones_edit_is_not_overwritten(page: Page, growing: Growing, store: Store) -> None:
    page.goto(f"/sweeps/{growing.id}")
    page.get_by_label("More actions").click()
    page.get_by_role("button", name="Concurrency").click()
    page.get_by_role("dialog").get_by_label("Concurrency", exact=True).fill("3")
    store.edits.edit(growing.id, {"priority": 5})
    page.get_by_role("button", name="Change it").click()
    refusal = page.locator(".toast.error")  # it stays until it is closed
    expect(refusal).to_be_visible()
    assert growing.sweep.spec.concurrency is None
    page.get_by_label("Close this message").click()
    expect(refusal).to_have_count(0)


def test_the_connection_is_lost_and_regained(page: Page, growing: Growing) -> None:
    page.goto(f"/sweeps/{growing.id}")
    head = page.locator(".sweep-head")
    expect(head).to_have_attribute("data-connection", "open")
    page.context.set_offline(True)
    growing.grow(30)
    expect(head).to_have_attribute("data-connection", "lost")
    page.context.set_offline(False)
    expect(head).to_have_attribute("data-connection", "open")
    count = sum(growing.sweep.trials.values())
    expect(page.locator(".trials .count")).to_have_text(f"{count} trials")
    growing.grow(20)
    expect(page.locator(".trials .count")).to_have_text(f"{sum(growing.sweep.trials.values())} trials")


def test_one_trial(page: Page, grown: Growing, store: Store, check: Callable[[Page], None]) -> None:
    best = grown.sweep.best
    assert best is not None
    page.goto(f"/sweeps/{grown.id}")
    drawn(page, "best")
    check(page)
    page.get_by_role("link", name=f"trial {best.number}, step").click()
    expect(page.get_by_role("heading", name=f"Trial {best.number}", exact=True)).to_be_visible()
    drawn(page, "val_loss")
    drawn(page, "Memory (MB)")
    first = next(iter(store.list_decisions(grown.id, number=best.number).items))
    assert first.rung == 1
    expect(page.locator(".decisions li").first).to_contain_text("At rung 1 its val_loss was")
    expect(page.get_by_text(f"toprung reproduce digits-cnn {best.number}")).to_be_visible()
    expect(page.get_by_text("Nothing printed so far")).to_be_visible()
    page.get_by_role("link", name="Next →", exact=True).click()
    expect(page.get_by_role("heading", name=f"Trial {best.number + 1}", exact=True)).to_be_visible()
    drawn(page, "val_loss")
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    check(page)
    page.goto(f"/sweeps/{grown.id}?tab=parameters&trial=3")
    drawn(page, "importance")
    check(page)
