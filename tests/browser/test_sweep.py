"""The page of one sweep, as a person uses it: in a browser, on the real application over a store, without a cluster."""

from __future__ import annotations

import ast
import csv
import json
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import uvicorn
import yaml
from playwright.sync_api import Browser, Page, expect

from tests.browser.conftest import NARROW, WIDE
from tests.browser.growing import Growing
from tests.integration.conftest import free_port, until
from toprung.serve.http.app import close, create_app
from toprung.serve.store import Store
from toprung.tuning.records import SweepState

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Store]:
    opened = Store(f"sqlite:///{tmp_path_factory.mktemp('store')}/toprung.db")
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def url(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The application over the store, without a cluster: what changes in the store is up to the test."""
    app = create_app(store, tmp_path_factory.mktemp("home"))
    server = uvicorn.Server(uvicorn.Config(app, port=free_port(), log_level="warning", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    until(lambda: server.started, what="the server")
    yield f"http://127.0.0.1:{server.config.port}"
    server.should_exit = True
    thread.join()
    close(app)


@pytest.fixture
def page(chromium: Browser, url: str) -> Iterator[Page]:
    with chromium.new_context(base_url=url, viewport=WIDE, reduced_motion="reduce") as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.set_default_timeout(15_000)
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        # a browser writes each refusal into its console, and these tests ask for some
        refusal = "Failed to load resource"
        page.on(
            "console",
            lambda m: errors.append(m.text) if m.type == "error" and not m.text.startswith(refusal) else None,
        )
        yield page
        assert errors == []


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


def asked_in(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


def cells(page: Page, column: int) -> list[str]:
    """What the rows in view show in a column, from the top."""
    found: list[str] = page.evaluate(
        """(column) => [...document.querySelectorAll('.grid-body .grid-row')]
            .filter((row) => row.row)
            .sort((a, b) => a.ariaRowIndex - b.ariaRowIndex)
            .map((row) => row.children[column].textContent)""",
        column,
    )
    return found


def drawn(page: Page, figure: str) -> None:
    expect(page.locator(f'[data-figure="{figure}"][data-drawn]')).to_be_visible(timeout=15_000)


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
    assert asked_in(page)["filter"] == ['optimizer == "adam"']
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert rows, "a download without rows"
    assert {row["optimizer"] for row in rows} == {"adam"}, "it has what the filter leaves"


def test_a_brush_filters_everything(page: Page, grown: Growing) -> None:
    page.goto(f"/sweeps/{grown.id}?tab=parameters")
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
    chip = page.locator(".chip.brush")
    expect(chip).to_contain_text("lr: ")
    expect(page.locator(".trials .count")).to_have_text(re.compile(r"^\d+ of \d+ trials$"))
    [(low, high)] = json.loads(asked_in(page)["brush"][0])["lr"]
    assert 1e-4 < low < high < 1e-1

    page.reload()  # a link shows a colleague the same
    expect(chip).to_contain_text("lr: ")
    drawn(page, "parallel")
    shown = page.evaluate(
        "document.querySelector('[data-figure=parallel] .plot').data[0].dimensions[0].constraintrange"
    )
    assert len(shown) == 2
    page.get_by_role("button", name="Don't filter by lr").click()
    expect(page.locator(".trials .count")).to_have_text(re.compile(r"^\d+ trials$"))
    assert "brush" not in asked_in(page)


def test_a_deep_link(page: Page, grown: Growing) -> None:
    page.goto(f"/sweeps/{grown.id}?filter=step+%3E%3D+3&sort=value&columns=number,state,value,lr&trial=7")
    expect(page.locator("#filter")).to_have_value("step >= 3")
    expect(page.locator('[role="columnheader"]')).to_have_count(4)
    expect(page.locator('[aria-sort="ascending"]')).to_have_text(re.compile("value"))
    values = [float(text) for text in cells(page, 2)]
    assert values == sorted(values)
    page.locator('[role="columnheader"] button', has_text="value").click()
    expect(page.locator('[aria-sort="descending"]')).to_have_text(re.compile("value"))
    assert asked_in(page)["desc"] == ["1"]
    page.reload()
    expect(page.locator('[aria-sort="descending"]')).to_have_text(re.compile("value"))
    expect(page.get_by_role("link", name="Open trial 7")).to_be_visible()
    page.locator("summary", has_text="Columns").click()
    page.get_by_label("optimizer", exact=True).check()
    expect(page.locator('[role="columnheader"]')).to_have_count(5)
    assert asked_in(page)["columns"] == ["number,state,value,lr,optimizer"]


def test_why_in_words(page: Page, grown: Growing) -> None:
    page.goto(f"/sweeps/{grown.id}")
    drawn(page, "rungs")
    rungs = page.locator('[data-figure="rungs"]')
    point = rungs.locator(".points path.point").first
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    why = rungs.locator(".hovertext")
    expect(why).to_contain_text(re.compile(r"trial \d+ .*rung 1"))
    found = re.search(r"trial (\d+)", why.text_content() or "")
    assert found is not None
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    expect(page.get_by_role("heading", name=f"Trial {found[1]}", exact=True)).to_be_visible()


def test_the_best_configuration_is_copied(page: Page, grown: Growing, store: Store) -> None:
    best = grown.sweep.best
    assert best is not None
    config = store.get_trial(grown.id, best.number).config
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.goto(f"/sweeps/{grown.id}")
    readers: dict[str, Callable[[str], Any]] = {"YAML": yaml.safe_load, "JSON": json.loads, "Python": of_python}
    for name, read in readers.items():
        page.get_by_label("More actions").click()
        page.get_by_role("button", name=f"Copy best as {name}").click()
        expect(page.locator(".toast.good")).to_contain_text(f"trial {best.number} is copied")
        assert read(page.evaluate("navigator.clipboard.readText()")) == config
        page.get_by_label("Close this message").click()


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
    assert asked_in(page)["trial"] == ["1"]
    page.keyboard.press("End")
    last = sum(grown.sweep.trials.values()) - 1
    expect(page.locator(f"#row-{last}")).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Trial 0")).to_be_visible()


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
    expect(page.locator(".toast")).to_contain_text(f"Trial {running} is asked to stop")
    assert store.get_trial(growing.id, running).stop_requested
    page.get_by_role("button", name="Enqueue a copy").click()
    page.get_by_role("dialog").get_by_label("lr", exact=True).fill("0.02")
    page.get_by_role("button", name="Enqueue it").click()
    expect(page.locator(".toast").last).to_contain_text("enqueued")
    requests, _ = store.edits.orders(growing.id)
    [asked] = requests
    assert asked.params["lr"] == 0.02
    assert asked.params["optimizer"] == store.get_trial(growing.id, running).params["optimizer"]


def test_another_ones_edit_is_not_overwritten(page: Page, growing: Growing, store: Store) -> None:
    page.goto(f"/sweeps/{growing.id}")
    page.get_by_label("More actions").click()
    page.get_by_role("button", name="Concurrency").click()
    page.get_by_label("Concurrency").fill("3")
    store.edits.edit(growing.id, {"priority": 5})
    page.get_by_role("button", name="Change it").click()
    expect(page.locator(".toast.error")).to_be_visible()
    assert growing.sweep.spec.concurrency is None


def test_the_connection_is_lost_and_regained(page: Page, growing: Growing) -> None:
    page.goto(f"/sweeps/{growing.id}")
    head = page.locator(".sweep-head")
    expect(head).to_have_attribute("data-connection", "open")
    page.context.set_offline(True)
    growing.grow(30)
    expect(head).to_have_attribute("data-connection", "lost", timeout=15_000)
    page.context.set_offline(False)
    expect(head).to_have_attribute("data-connection", "open", timeout=15_000)
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
    expect(page.get_by_role("heading", name=f"Trial {best.number}")).to_be_visible()
    drawn(page, "val_loss")
    drawn(page, "Memory (MB)")
    first = next(iter(store.list_decisions(grown.id, number=best.number).items))
    assert first.rung == 1
    expect(page.locator(".decisions li").first).to_contain_text("At rung 1 its val_loss was")
    expect(page.get_by_text(f"toprung reproduce digits-cnn {best.number}")).to_be_visible()
    expect(page.get_by_text("Nothing printed so far")).to_be_visible()
    page.get_by_role("link", name="Next").click()
    expect(page.get_by_role("heading", name=f"Trial {best.number + 1}")).to_be_visible()
    page.set_viewport_size(NARROW)  # type: ignore[arg-type]
    check(page)
    page.goto(f"/sweeps/{grown.id}?tab=parameters&trial=3")
    drawn(page, "importance")
    check(page)
