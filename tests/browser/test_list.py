"""The list of sweeps as it comes, and as time goes on without news."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.browser.growing import SPEC, Growing
from tests.browser.serving import Served, page_of, serving
from toprung.tuning.spec import spec_from

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("list")) as served:
        yield served


@pytest.fixture(scope="module")
def ended(served: Served) -> Growing:
    sweep = Growing(served.store, name="over", budget={"trials": 2})
    sweep.grow(1_000)
    return sweep


@pytest.fixture
def page(chromium: Browser, served: Served) -> Iterator[Page]:
    with page_of(chromium, served.url) as page:
        yield page


def test_times_go_on_without_news(page: Page, ended: Growing) -> None:
    page.clock.install()
    page.goto("/")
    row = page.get_by_role("row", name="over")
    expect(row.locator("time")).to_have_text(re.compile("just now|s ago"))
    page.clock.fast_forward(300_000)
    expect(row.locator("time")).to_have_text(re.compile("[56] min ago"))
    row.get_by_role("link", name="over").click()
    facts = page.locator(".sweep-head .facts")
    expect(facts).to_contain_text(re.compile("ended[56] min ago"))
    page.clock.fast_forward(3_600_000)
    expect(facts).to_contain_text("ended1 h ago")


@pytest.mark.usefixtures("ended")
def test_the_list_is_read_once_and_not_empty_before_it_came(page: Page) -> None:
    asked: list[Route] = []

    def hold(route: Route) -> None:
        asked.append(route)
        if len(asked) > 1:
            route.continue_()

    page.route("**/v1/sweeps?*", hold)
    begin = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    page.clock.install(time=begin)
    page.clock.pause_at(begin + dt.timedelta(seconds=1))  # so that what is asked, is asked because of the stream
    with page.expect_request("**/v1/sweeps?*"):
        page.goto("/")
    page.clock.run_for(40_000)
    expect(page.get_by_text("Loading…")).to_be_visible()
    expect(page.get_by_text("No sweeps yet")).to_have_count(0)
    asked[0].continue_()
    expect(page.get_by_role("row", name="over")).to_be_visible()
    expect(page.get_by_text("● live")).to_be_visible()
    page.clock.run_for(40_000)
    assert len(asked) == 1


def test_what_is_sorted_is_said_where_it_is_not_all(page: Page, served: Served) -> None:
    spec = spec_from(SPEC)
    for number in range(51):
        served.store.create_sweep(spec, name=f"many-{number:02}", num_trials=60)
    page.goto("/?text=many-")
    count = page.locator(".toolbar .count")
    expect(count).to_have_text("50+ sweeps")
    page.get_by_role("columnheader", name="Name").get_by_role("button").click()
    expect(count).to_have_text("the newest 50 sweeps, sorted")
    expect(page.locator("tbody tr").first).to_contain_text("many-01")
    page.get_by_role("button", name="Show older ones").click()
    expect(count).to_have_text("51 sweeps")
    expect(page.locator("tbody tr").first).to_contain_text("many-00")


@pytest.mark.usefixtures("ended")
def test_the_theme_is_the_systems_until_one_is_chosen(page: Page) -> None:
    def shown() -> str:
        theme: str = page.evaluate("getComputedStyle(document.documentElement).colorScheme")
        return theme

    page.emulate_media(color_scheme="dark")
    page.goto("/sweeps/over")
    plot = page.locator('[data-figure="best"][data-drawn] .main-svg').first
    expect(plot).to_be_visible()
    assert shown() == "dark"
    with page.expect_response(re.compile("/figures/best.*theme=light")):
        page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Show the page dark").click()
    expect(page.get_by_role("button", name="Show the page light")).to_be_visible()
    assert shown() == "dark"
    other = page.context.new_page()
    other.goto("/")
    other.get_by_role("button", name="Show the page light").click()
    expect(page.get_by_role("button", name="Show the page dark"), "it was chosen in another tab").to_be_visible()
    page.emulate_media(color_scheme="dark")
    assert shown() == "light", "what was chosen stays"
