"""The page in a real browser (Debian's Chromium), on a real service with access control."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response, expect, sync_playwright

from tests.integration.conftest import Service, until
from toprung import Client

WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
DRAWN_MS = 60_000
"""Within this a figure is drawn: its library's megabytes take many seconds where others work on the same two cores."""
STARTS_MS = 120_000
"""Within this a sweep's or a trial's process has started, and done what little it has to do."""
EXPECTED_REFUSALS = {"/v1/sweeps:validate": {422}, "/v1/sweeps/nobody": {404}}
"""What these tests are refused, since they ask for it: an expression for its path, and the answer's statuses."""
_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# package: the browser's library keeps an event loop running, which tests elsewhere that have one of their own can't


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    if _CHROMIUM is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    expect.set_options(timeout=20_000)  # five seconds are few where others work on the same two cores
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        arguments += ["--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=arguments, timeout=120_000)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def service(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A service with access control; where there is no browser, none is started."""
    running = Service(tmp_path_factory.mktemp("page") / "home", "--num-cpus", "2", "--auth")
    yield running
    running.stop()


@pytest.fixture(scope="package")
def token(service: Service) -> str:
    return (service.home / "token").read_text().strip()


@pytest.fixture(scope="package")
def client(service: Service, token: str) -> Iterator[Client]:
    """A client beside the browser, of the same user."""
    with Client(service.url, token=token) as client:
        yield client


@pytest.fixture
def stranger(chromium: Browser, service: Service) -> Iterator[Page]:
    """A page of a browser that nobody has logged in: the service may refuse it."""
    with context_of(chromium, service.url) as context:
        yield from watched(context, {".*": {401}})


@pytest.fixture
def page(chromium: Browser, service: Service, token: str) -> Iterator[Page]:
    """A page of a browser that is logged in. The test fails if it wrote an error into its console."""
    with context_of(chromium, service.url) as context:
        answer = context.request.post(
            "/session", data={"token": token}, headers={"X-Toprung": "page", "Origin": service.url}
        )
        assert answer.ok, answer.text()
        yield from watched(context, EXPECTED_REFUSALS)


def context_of(chromium: Browser, url: str) -> BrowserContext:
    context = chromium.new_context(base_url=url, viewport=WIDE, reduced_motion="reduce")  # type: ignore[arg-type]
    context.set_default_timeout(60_000)
    return context


def watched(context: BrowserContext, refusals: Mapping[str, set[int]]) -> Iterator[Page]:
    """A page. The test fails if it wrote an error into its console, or was refused what nobody expected it to be."""
    page = context.new_page()
    page.add_init_script(_REMEMBERED)
    errors: list[str] = []

    def on_message(message: ConsoleMessage) -> None:
        # a browser writes each refusal there: those are looked at below
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            errors.append(f"{message.text} ({message.location})")

    def on_response(response: Response) -> None:
        path = urlsplit(response.url).path
        expected = any(re.fullmatch(each, path) and response.status in refusals[each] for each in refusals)
        if response.status >= 400 and not expected:
            errors.append(f"{response.status} for {response.request.method} {response.url}")

    page.on("console", on_message)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("response", on_response)
    yield page
    assert errors == []


# a message goes by itself after some seconds, which a slow machine may spend on something else
_REMEMBERED = """addEventListener("DOMContentLoaded", () => {
    window.told = [];
    new MutationObserver((changes) => {
        for (const { addedNodes } of changes) for (const node of addedNodes) window.told.push(node.textContent);
    }).observe(document.getElementById("toasts"), { childList: true });
})"""


def told(page: Page, text: str, *, times: int = 1) -> None:
    """Waits until the page has said this in a short message, so many times since it was loaded."""

    def said() -> bool:
        return sum(text in each for each in page.evaluate("window.told")) >= times

    until(said, timeout_s=60, what=f"a message with {text!r}")


def asked_in(page: Page) -> dict[str, list[str]]:
    """The query of the page's address, as it is now."""
    return parse_qs(page.evaluate("location.search").removeprefix("?"))


def asks(page: Page, **wanted: str | None) -> None:
    """Waits until the page's address says this; None: nothing of it."""

    def says() -> bool:
        query = asked_in(page)
        return all(query.get(name) == (None if value is None else [value]) for name, value in wanted.items())

    until(says, what=f"an address with {wanted}")


@pytest.fixture
def check() -> Callable[[Page], None]:
    """Asserts that axe finds nothing serious, and that nothing is wider than the window."""

    def check(page: Page) -> None:
        found = Axe().run(page)
        serious = [
            f"{each['id']}: {each['help']} at {[node['target'] for node in each['nodes']][:3]}"
            for each in _violations(found)
            if each["impact"] in ("serious", "critical")
        ]
        assert serious == [], page.url
        # a figure follows the window's width a moment later
        fits = "document.documentElement.scrollWidth <= innerWidth"
        until(lambda: page.evaluate(fits), what=f"{page.url} as narrow as its window")

    return check


def _violations(found: Any) -> list[dict[str, Any]]:
    violations: list[dict[str, Any]] = found.response["violations"]
    return violations


def write_trainable(folder: Path) -> Path:
    """A user's own code in one file, quick to train."""
    file = folder / "train.py"
    file.write_text(
        "from ray import tune\n\n\n"
        "def train(config):\n"
        "    for step in range(1, 4):\n"
        "        tune.report({'loss': config['x'] / step})\n"
    )
    return file


@pytest.fixture
def trainable(tmp_path: Path) -> Path:
    return write_trainable(tmp_path)
