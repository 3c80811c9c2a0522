"""Pages that nobody sees hold no connections, and services go away and come back under a page that is open."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.growing import Growing
from tests.browser.serving import Served, page_of, serving

pytestmark = pytest.mark.slow

HIDE = """() => {
    Object.defineProperty(document, "hidden", { configurable: true, get: () => window.isHidden });
    window.isHidden = true;
    document.dispatchEvent(new Event("visibilitychange"));
}"""
SHOW = "window.isHidden = false; document.dispatchEvent(new Event('visibilitychange'))"


@pytest.fixture
def served(tmp_path: Path, chromium: Browser) -> Iterator[Served]:
    with serving(tmp_path) as served:
        yield served


@pytest.fixture
def page(chromium: Browser, served: Served) -> Iterator[Page]:
    with page_of(chromium, served.url) as page:
        yield page


def test_a_hidden_page_gives_its_connections_up_and_goes_on_where_it_was(page: Page, served: Served) -> None:
    sweep = Growing(served.store, workers=1, scheduler={"type": "none", "max_t": 9})
    sweep.grow(1)
    log = served.home.log(sweep.id, 0, 1)
    log.parent.mkdir(parents=True)
    printed = "eins\nzwölf, an"
    log.write_text(printed, encoding="utf-8")
    page.clock.install()
    page.goto(f"/sweeps/{sweep.id}/trials/0")
    output = page.get_by_role("region", name="What the attempt printed")
    expect(output).to_have_text(printed)
    live = page.get_by_role("status").filter(has_text="live")
    expect(live).to_be_visible()

    with (
        page.expect_event("requestfailed", lambda request: "/events?" in request.url),
        page.expect_event("requestfailed", lambda request: "/logs?" in request.url),
    ):
        page.evaluate(HIDE)
        page.clock.fast_forward(5_000)
    sweep.grow(2)
    with log.open("ab") as file:
        file.write(b"d then more\n")
    with page.expect_request(lambda request: "/logs?" in request.url) as asked:
        page.evaluate(SHOW)

    assert f"offset={len(printed.encode())}&" in asked.value.url
    expect(output).to_have_text("eins\nzwölf, and then more")
    expect(page.get_by_text(re.compile(r"at step \d of 3\."))).to_be_visible()
    expect(live).to_be_visible()


def test_a_page_that_is_opened_behind_another_one_takes_no_connection(page: Page, served: Served) -> None:
    sweep = Growing(served.store)
    page.add_init_script(f"({HIDE})()")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/")
    row = page.get_by_role("row", name=sweep.sweep.name)
    expect(row).to_be_visible()
    assert not [url for url in asked if "/v1/events" in url]
    page.evaluate(SHOW)
    expect(page.get_by_text("● live")).to_be_visible()
    sweep.grow(4)
    expect(row.locator(".best .num")).not_to_have_text("–")


def test_a_service_comes_back_under_open_pages(chromium: Browser, page: Page, served: Served) -> None:
    sweep = Growing(served.store, workers=1, scheduler={"type": "none", "max_t": 9})
    sweep.grow(1)
    page.goto("/")
    expect(page.get_by_role("row", name="digits-cnn")).to_be_visible()
    with ExitStack() as stack:

        def opened(address: str) -> Page:
            view = stack.enter_context(page_of(chromium, served.url))  # tabs of one browser would share connections
            view.goto(address)
            return view

        everything = opened("/")
        one = opened(f"/sweeps/{sweep.id}")
        trial = opened(f"/sweeps/{sweep.id}/trials/0")
        compared = opened("/compare?sweeps=digits-cnn")
        live = [everything.get_by_text("● live"), *(view.get_by_text("live", exact=True) for view in (one, trial))]
        for each in live:
            expect(each).to_be_visible()
        expect(compared.get_by_role("cell", name="trial 0, step 1")).to_be_visible()

        served.stop()
        for view in (everything, one, trial, compared):
            expect(view.get_by_text("connection lost, trying again")).to_be_visible()
        page.get_by_role("link", name="digits-cnn").click()
        expect(page.get_by_role("alert")).to_contain_text("The service does not answer")
        sweep.grow(10)
        served.start()

        for each in live:
            expect(each).to_be_visible()
        expect(everything.get_by_role("row", name="digits-cnn")).to_contain_text("1/60")
        expect(one.locator(".trials .count")).to_have_text("2 trials")
        expect(one.locator(".trials .error-line")).to_be_empty()
        expect(trial.get_by_text("It was trained to its end.")).to_be_visible()
        expect(compared.get_by_role("cell", name="1 of 60")).to_be_visible()
        shown = page.get_by_role("heading", name="digits-cnn")
        expect(shown, "it was gone to while the service was away").to_be_visible()
