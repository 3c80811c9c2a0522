"""The page's shell, and all of its views but that of one sweep and of one trial."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import NARROW, STARTS_MS, WIDE, asked_in, asks, write_trainable
from toprung import Client

SPEC = """name: from-the-page
trainable: train:train
metric: {name: loss, goal: minimize}
parameters:
  x: {type: float, low: 0.1, high: 1.0}
search: {algorithm: random, seed: 1}
budget: {trials: 2}
tracking: {tensorboard: false}
"""


def submit(client: Client, name: str, trainable: Path, **changes: Any) -> str:
    spec = {
        "name": name,
        "trainable": "train:train",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"type": "float", "low": 0.1, "high": 1.0}},
        "search": {"algorithm": "random", "seed": 1},
        "budget": {"trials": 1},
        "tracking": {"tensorboard": False},
        **changes,
    }
    return client.submit(spec, code=trainable.parent).id


@pytest.mark.slow
def test_a_stranger_logs_in_and_out(stranger: Page, client: Client, token: str, check: Callable[[Page], None]) -> None:
    page = stranger
    page.goto("/?state=failed")
    field = page.get_by_label("Token")
    expect(field).to_be_focused()
    check(page)
    field.fill("tpr_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("none of the service's")
    field.fill(token)
    page.get_by_role("button", name="Log in").click()

    expect(page.get_by_role("heading", name="Sweeps", exact=True)).to_be_visible()
    assert asked_in(page) == {"state": ["failed"]}, "the address is the one that was asked for"
    expect(page.get_by_label("State", exact=True)).to_have_value("failed")
    assert page.evaluate("document.cookie") == "", "a script can read the session"
    assert token not in page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, location.href])")
    page.reload()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Token")).to_be_visible()

    page.goto("/login?next=https://evil.example/")
    fleeting = client.create_token(owner="eve", scope="read")
    page.get_by_label("Token").fill(fleeting.token)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Sweeps", exact=True)).to_be_visible()
    assert page.evaluate("location.pathname + location.search") == "/"
    page.get_by_role("link", name="Cluster", exact=True).click()
    expect(page.get_by_role("heading", name="Nodes")).to_be_visible()
    client.revoke_token(fleeting.id)
    expect(page.get_by_label("Token"), "a revoked token ends the session").to_be_visible(timeout=60_000)


@pytest.mark.slow
def test_a_sweep_is_submitted_from_the_page(page: Page, trainable: Path, check: Callable[[Page], None]) -> None:
    page.goto("/submit")
    editor = page.get_by_label("The spec, in YAML")
    editor.fill(SPEC.replace("low: 0.1", "low: 2.0").replace("budget", "budgt"))
    problems = page.get_by_role("status").locator("li")
    expect(problems).to_have_count(3)  # low above high, an unknown field, and the one that is missing for it
    expect(page.get_by_role("button", name="Submit", exact=True)).to_be_disabled()
    check(page)
    page.get_by_role("button", name=re.compile("line 5")).click()
    expect(editor).to_be_focused()

    editor.fill(SPEC)
    page.get_by_label("Upload code…").set_input_files(trainable)
    expect(editor).to_have_value(re.compile(r"\ncode: sha256:[0-9a-f]{64}\n"))
    expect(page.get_by_role("status").filter(has_text="from-the-page · 2 trials")).to_be_visible()
    page.get_by_role("button", name="Submit", exact=True).click()

    page.wait_for_url(re.compile("/sweeps/swp_"))
    page.get_by_role("navigation", name="Pages").get_by_role("link", name="Sweeps").click()
    row = page.get_by_role("row", name=re.compile("from-the-page"))
    expect(row).to_contain_text("succeeded", timeout=STARTS_MS)
    expect(row).to_contain_text("2/2")


@pytest.mark.slow
def test_the_list_is_live_and_survives_a_lost_connection(page: Page, client: Client, trainable: Path) -> None:
    page.goto("/")
    live = page.get_by_text("● live")
    expect(live).to_be_visible()
    first = submit(client, "first-live", trainable)
    row = page.get_by_role("row", name=re.compile("first-live"))
    expect(row).to_be_visible()
    page.get_by_label("Compare first-live").check()
    expect(row).to_contain_text("1/1", timeout=STARTS_MS)
    expect(page.get_by_label("Compare first-live"), "the row was built anew").to_be_checked()

    page.context.set_offline(True)
    page.evaluate("window.dispatchEvent(new Event('offline'))")
    second = submit(client, "second-live", trainable)
    page.context.set_offline(False)
    expect(page.get_by_role("row", name=re.compile("second-live"))).to_contain_text("1/1", timeout=STARTS_MS)

    page.get_by_label("Compare second-live").check()
    page.get_by_role("link", name="Compare 2").click()
    expect(page.get_by_role("heading", name="Compare", exact=True)).to_be_visible()
    assert asked_in(page) == {"sweeps": [f"{first},{second}"]}
    expect(page.get_by_text("Their specs are the same.")).to_be_visible()


@pytest.fixture(scope="module")
def pair(client: Client, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """The names of two sweeps that have ended."""
    code = write_trainable(tmp_path_factory.mktemp("pair"))
    submit(client, "pair-zeta", code, budget={"trials": 2})
    submit(client, "pair-alpha", code, budget={"trials": 1})
    for name in ("pair-zeta", "pair-alpha"):
        client.sweep(name).wait(timeout_s=120, progress=False)
    return "pair-zeta", "pair-alpha"


@pytest.mark.slow
@pytest.mark.usefixtures("pair")
def test_a_link_shows_the_same_after_a_reload(page: Page) -> None:
    page.goto("/")
    names = page.locator("tbody .name")
    page.get_by_label("Search names").fill("R-ZET")
    expect(names).to_have_text(["pair-zeta"])
    page.get_by_label("Search names").fill("pair-")
    expect(names).to_have_text(["pair-alpha", "pair-zeta"])  # the newest first
    page.get_by_label("State", exact=True).select_option("failed")
    expect(page.get_by_text("No sweep is like that.")).to_be_visible()
    page.get_by_label("State", exact=True).select_option("succeeded")
    header = page.get_by_role("columnheader", name="Name", exact=True)
    for order, shown in (("ascending", ["pair-alpha", "pair-zeta"]), ("descending", ["pair-zeta", "pair-alpha"])):
        header.get_by_role("button").click()
        expect(header).to_have_attribute("aria-sort", order)
        expect(names).to_have_text(shown)
    asks(page, text="pair-", state="succeeded", sort="name", desc="1")

    page.reload()

    expect(names).to_have_text(["pair-zeta", "pair-alpha"])
    expect(page.get_by_label("Search names")).to_have_value("pair-")
    page.goto("/compare?sweeps=pair-zeta,nobody,pair-alpha")
    expect(page.get_by_role("alert")).to_contain_text("nobody")
    expect(page.get_by_role("link", name="pair-zeta", exact=True)).to_be_visible()
    page.get_by_role("link", name="Toprung, all sweeps").click()
    expect(page.get_by_role("heading", name="Sweeps", exact=True)).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Compare", exact=True)).to_be_visible()
    page.goto("/sweeps/of/nothing")
    expect(page.get_by_role("heading", name="There is no such page")).to_be_visible()


@pytest.mark.slow
@pytest.mark.parametrize(("theme", "window"), [("light", WIDE), ("dark", NARROW)])
def test_every_view_can_be_read_by_everybody(
    page: Page, pair: tuple[str, str], theme: str, window: dict[str, int], check: Callable[[Page], None]
) -> None:
    page.emulate_media(color_scheme=theme)  # type: ignore[arg-type]
    page.set_viewport_size(window)  # type: ignore[arg-type]
    views = {
        "/": page.get_by_role("row", name=re.compile(pair[0])),
        f"/compare?sweeps={','.join(pair)}": page.get_by_role("rowheader", name="/budget/trials"),
        "/compare": page.get_by_text("Tick the sweeps to compare"),
        "/cluster": page.get_by_role("heading", name="Nodes"),
        "/submit?example=digits/sweep.yaml": page.get_by_text("digits-cnn · 40 trials"),
        "/?text=nobody": page.get_by_text("No sweep is like that."),
    }
    for address, shown in views.items():
        page.goto(address)
        expect(shown).to_be_visible()
        check(page)


@pytest.mark.slow
def test_the_theme_is_kept_and_the_keyboard_is_enough(page: Page) -> None:
    page.emulate_media(color_scheme="light")
    page.goto("/submit")
    expect(page.get_by_role("heading", name="Submit a sweep")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_label("Open file…")).to_be_focused()
    page.get_by_role("button", name="Show the page dark").press("Enter")
    expect(page.locator("body")).to_have_css("background-color", "rgb(20, 23, 27)")
    page.reload()
    expect(page.locator("body")).to_have_css("background-color", "rgb(20, 23, 27)")
    expect(page.get_by_role("button", name="Show the page light")).to_be_visible()
    editor = page.get_by_label("The spec, in YAML")
    editor.fill("metric:")
    editor.press("End")
    page.keyboard.press("Enter")
    page.keyboard.type("name: loss")
    page.keyboard.press("Enter")
    page.keyboard.type("goal: minimize")
    expect(editor).to_have_value("metric:\n  name: loss\n  goal: minimize")


@pytest.mark.slow
def test_a_login_leads_nowhere_else(page: Page) -> None:
    page.goto("/submit")
    asked = ["https://evil.example/", "//evil.example", "javascript:0", "/\\evil.example", "/login?next=x", None, "x:y"]
    led = page.evaluate("(all) => import('/static/js/views/login.js').then((m) => all.map(m.ours))", asked)
    assert led == ["/"] * len(asked)
    good = "/tensorboard/swp_1/?a=b#c"
    assert page.evaluate("(one) => import('/static/js/views/login.js').then((m) => m.ours(one))", good) == good


@pytest.mark.slow
def test_numbers_and_times_read_alike_everywhere(page: Page) -> None:
    page.goto("/submit")
    said = page.evaluate(
        """async () => {
            const f = await import("/static/js/format.js");
            return [
                [0, 0.08312345, 31, 12400, 1234.5678, 3.1e-4, 2.5e9, 1e-12, -0.5, null, NaN, 0.1].map((x) =>
                    f.number(x)),
                [3, 42, 60, 190, 7500, 270000, null].map(f.duration),
                [0, 1536, 5 * 2 ** 30, null].map(f.bytes),
                [true, "adam", 1e-3, [1, 2], null].map(f.value),
                [f.ago(new Date(Date.now() - 300_000).toISOString()), f.stateLabel("failed")],
            ];
        }"""
    )
    assert said == [
        ["0", "0.08312", "31", "12,400", "1,235", "3.1e-4", "2,500,000,000", "1e-12", "-0.5", "–", "–", "0.1"],
        ["3 s", "42 s", "1 min", "3 min 10 s", "2 h 5 min", "3 d 3 h", "–"],
        ["0 B", "1.5 KiB", "5 GiB", "–"],
        ["true", "adam", "0.001", "[1,2]", "–"],
        ["5 min ago", "✕ failed"],
    ]
