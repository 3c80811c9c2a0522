"""The page in a real browser (Debian's Chromium), on a real service with access control."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, Response, expect, sync_playwright

from tests.integration.conftest import Service
from toprung import Client

WIDE, NARROW = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
EXPECTED_REFUSALS = ("/session", "/v1/sweeps:validate", "/v1/sweeps/nobody")
"""What answers with an error in these tests, since they ask for it; a browser writes each into its console."""
_CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)

# package: the browser's library keeps an event loop running, which tests elsewhere that have one of their own can't


@pytest.fixture(scope="package")
def chromium() -> Iterator[Browser]:
    if _CHROMIUM is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    expect.set_options(timeout=20_000)  # five seconds are few where others work on the same two cores
    arguments = ["--no-sandbox"] if os.getuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=[*arguments, "--disable-dev-shm-usage"])
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
    with _context(chromium, service) as context:
        yield from _watched(context, 401)


@pytest.fixture
def page(chromium: Browser, service: Service, token: str) -> Iterator[Page]:
    """A page of a browser that is logged in. The test fails if it wrote an error into its console."""
    with _context(chromium, service) as context:
        answer = context.request.post(
            "/session", data={"token": token}, headers={"X-Toprung": "page", "Origin": service.url}
        )
        assert answer.ok, answer.text()
        yield from _watched(context)


def _context(chromium: Browser, service: Service) -> BrowserContext:
    return chromium.new_context(base_url=service.url, viewport=WIDE, reduced_motion="reduce")  # type: ignore[arg-type]


def _watched(context: BrowserContext, *expected: int) -> Iterator[Page]:
    page = context.new_page()
    page.set_default_timeout(30_000)
    errors: list[str] = []

    def on_message(message: ConsoleMessage) -> None:
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            errors.append(f"{message.text} ({message.location})")

    def on_response(response: Response) -> None:
        asked_for = response.url.partition("?")[0].endswith(EXPECTED_REFUSALS) or response.status in expected
        if response.status >= 400 and not asked_for:
            errors.append(f"{response.status} for {response.request.method} {response.url}")

    page.on("console", on_message)
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("response", on_response)
    yield page
    assert errors == []


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
        width: int = page.evaluate("document.documentElement.scrollWidth")
        window: int = page.evaluate("innerWidth")
        assert width <= window, f"{page.url} is {width} wide in a window of {window}"

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
