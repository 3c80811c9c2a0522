"""The submit page: what was typed is never lost, and a button is never dead without a reason."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.browser.growing import Growing
from tests.browser.serving import Served, page_of, serving
from toprung.tuning.spec import parse_spec

pytestmark = pytest.mark.slow

SPEC = """name: typed
trainable: train:train
metric: {name: loss, goal: minimize}
parameters: {x: {type: float, low: 0.1, high: 1.0}}
budget: {trials: 2}
"""
MINE = re.compile("^# mine")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("submit")) as served:
        yield served


@pytest.fixture
def page(chromium: Browser, served: Served) -> Iterator[Page]:
    with page_of(chromium, served.url) as page:
        yield page


def editor(page: Page) -> Locator:
    return page.get_by_label("The spec, in YAML")


def begin_with(page: Page, text: str) -> None:
    """Types at the top of what is there."""
    editor(page).press("Control+Home")
    page.keyboard.insert_text(text)


def test_a_clone_is_yaml_and_edits_are_kept_on_the_way_back(page: Page, served: Served) -> None:
    sweep = Growing(served.store)
    page.goto(f"/submit?from={sweep.id}")
    expect(editor(page)).to_have_value(re.compile("^name: digits-cnn\n"))
    assert parse_spec(editor(page).input_value()) == sweep.spec
    begin_with(page, "# mine\n")
    page.get_by_role("link", name="Cluster", exact=True).click()
    expect(page.get_by_role("heading", name="Cluster")).to_be_visible()
    page.go_back()
    expect(editor(page)).to_have_value(MINE)
    page.reload()
    expect(editor(page)).to_have_value(MINE)

    page.get_by_role("button", name="A small CNN on digits").click()
    expect(editor(page)).to_have_value(re.compile("^name: digits-cnn\ntrainable: toprung.examples"))
    page.goto("/submit?from=digits-cnn")
    expect(editor(page), "a link begins anew").to_have_value(re.compile('^name: digits-cnn\ntrainable: "train:'))
    page.get_by_role("button", name="Bring my text back").click()
    expect(editor(page)).to_have_value(MINE)
    expect(editor(page)).to_be_focused()
    expect(page.get_by_role("button", name="Bring my text back")).to_be_hidden()


def test_a_late_answer_takes_nobodys_text(page: Page, tmp_path: Path) -> None:
    held: list[Route] = []
    page.route("**/static/examples/**", lambda route: held.append(route))
    page.route("**/v1/packages/*", lambda route: held.append(route))
    page.goto("/submit")
    with page.expect_request("**/static/examples/**"):
        page.get_by_role("button", name="A small CNN on digits").click()
    editor(page).fill("# mine\n" + SPEC)
    with page.expect_response("**/static/examples/**"):
        held.pop().continue_()
    code = tmp_path / "train.py"
    code.write_text("def train(config): ...")
    with page.expect_request("**/v1/packages/*"):
        page.get_by_label("Upload code…").set_input_files(code)
    begin_with(page, "# mine, typed during the upload\n")
    held.pop().continue_()
    expect(editor(page)).to_have_value(re.compile(r"^# mine, typed during the upload\n# mine\n[^#]+\ncode: sha256:"))


def test_a_service_that_was_away_leaves_no_dead_button(page: Page) -> None:
    button = page.get_by_role("button", name="Submit", exact=True)
    cut = ["/v1/sweeps:validate"]
    # one route for the whole test: while one is taken away and another comes, a request may slip through
    page.route("**/v1/sweeps*", lambda it: it.abort() if it.request.url.endswith(cut[0]) else it.continue_())
    page.goto("/submit")
    editor(page).fill(SPEC)
    expect(page.get_by_role("alert")).to_contain_text("The service does not answer.")
    cut[0] = "/v1/sweeps"
    expect(page.get_by_role("status").filter(has_text="typed · 2 trials")).to_be_visible()
    editor(page).press("Tab")
    expect(button, "it comes after the editor").to_be_focused()

    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("Press Submit again")
    expect(button).to_be_focused()
    cut[0] = "nothing"
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("/sweeps/swp_"))
    page.go_back()
    expect(editor(page), "it is submitted").to_have_value("")
