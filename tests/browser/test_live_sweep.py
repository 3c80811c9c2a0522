"""The page of a sweep that really runs: what is pressed there happens on the cluster."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import STARTS_MS
from tests.integration.conftest import until
from toprung import Client

SLOW_TRIAL = """
import time
from ray import tune


def train(config):
    for step in range(1, 500):
        print(f"step {step} begins")
        tune.report({"loss": config["x"] / step})
        time.sleep(0.2)
"""


@pytest.mark.slow
def test_stop_pause_resume_cancel(page: Page, client: Client, tmp_path: Path, check: Callable[[Page], None]) -> None:
    (tmp_path / "train.py").write_text(SLOW_TRIAL)
    spec = {
        "name": "steered",
        "trainable": "train:train",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"type": "float", "low": 0.1, "high": 1.0}},
        "search": {"algorithm": "random", "seed": 1},
        "budget": {"trials": 4},
        "concurrency": 1,
        "tracking": {"tensorboard": False},
    }
    sweep = client.submit(spec, code=tmp_path)
    page.goto("/sweeps/steered")
    state = page.locator(".sweep-head .chip")
    # it arrives by itself
    expect(page.locator("#row-0")).to_contain_text("running", timeout=STARTS_MS)
    # with the first result there are columns more, and rows of their own
    expect(page.get_by_role("columnheader", name="loss")).to_be_visible(timeout=STARTS_MS)

    page.locator("#row-0 .grid-cell").nth(2).click()
    page.get_by_role("button", name="Stop", exact=True).click()
    page.get_by_role("button", name="Stop it").click()
    expect(page.locator("#row-0")).to_contain_text("cancelled", timeout=STARTS_MS)
    expect(page.locator("#row-1")).to_contain_text("running", timeout=STARTS_MS)

    page.locator("#row-1 a").click()
    expect(page.get_by_label("What the attempt printed")).to_contain_text("step 2 begins", timeout=STARTS_MS)
    check(page)
    page.get_by_role("link", name="steered", exact=True).click()

    page.get_by_role("button", name="Pause", exact=True).click()
    expect(state).to_contain_text("paused", timeout=STARTS_MS)
    page.get_by_role("button", name="Resume", exact=True).click()
    expect(state).to_contain_text("running", timeout=STARTS_MS)
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.get_by_role("button", name="Cancel the sweep").click()
    expect(state).to_contain_text("cancelled", timeout=STARTS_MS)
    expect(page.get_by_role("button", name="Extend…")).to_be_visible()
    until(lambda: client.sweep(sweep.id).record.state == "cancelled", what="the end of the sweep")
