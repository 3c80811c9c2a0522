"""What views show of attempts and trackers, and what is left of them when they are left."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.growing import Growing
from tests.browser.serving import Served, page_of, serving
from toprung.tuning.records import Batch

pytestmark = pytest.mark.slow

WANDB = {"project": "digits", "entity": "lab", "mode": "online"}


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, chromium: Browser) -> Iterator[Served]:
    with serving(tmp_path_factory.mktemp("views")) as served:
        yield served


@pytest.fixture(scope="module")
def growing(served: Served) -> Growing:
    """A sweep whose first trial is at its second attempt, which has reported nothing."""
    sweep = Growing(served.store, scheduler={"type": "none", "max_t": 9}, tracking={"wandb": WANDB})
    sweep.grow(8)
    trial = served.store.get_trial(sweep.id, 0)
    served.store.write(Batch(sweep_id=sweep.id, trials=[trial.model_copy(update={"attempt": 2})]))
    return sweep


@pytest.fixture
def page(chromium: Browser, served: Served) -> Iterator[Page]:
    with page_of(chromium, served.url) as page:
        yield page


def test_attempts_without_reports_and_the_trackers_of_a_trial(page: Page, growing: Growing) -> None:
    page.goto(f"/sweeps/{growing.id}/trials/0")
    rows = page.get_by_role("region", name="Attempts").locator("tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.nth(0)).to_contain_text("11 – 2")
    expect(rows.nth(1)).to_have_text("2none––")
    link = page.get_by_role("link", name="Weights & Biases")
    expect(link).to_have_attribute("href", f"https://wandb.ai/lab/digits/runs/{growing.id}-0")
    expect(page.get_by_role("link", name="TensorBoard")).to_have_attribute("href", f"/tensorboard/{growing.id}/")
    page.goto(f"/sweeps/{growing.id}")
    page.get_by_text("More ▾").click()
    group = f"digits-cnn-{growing.id[-6:]}"
    link = page.get_by_role("link", name="Weights & Biases")
    expect(link).to_have_attribute("href", f"https://wandb.ai/lab/digits/groups/{group}/workspace")


def test_a_question_goes_with_the_view_that_asks(page: Page, growing: Growing) -> None:
    page.goto("/")
    page.get_by_role("row", name="digits-cnn").get_by_role("link", name="digits-cnn").click()
    page.get_by_role("button", name="Cancel", exact=True).click()
    expect(page.get_by_role("dialog")).to_be_visible()
    page.go_back()
    expect(page.get_by_role("heading", name="Sweeps", exact=True)).to_be_visible()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert not growing.sweep.cancel_requested
