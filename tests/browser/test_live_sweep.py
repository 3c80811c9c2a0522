"""The page of a sweep that really runs: what is pressed there happens on the cluster."""

from __future__ import annotations

import re
import tarfile
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


SAVING_TRIAL = """import tempfile
from pathlib import Path

from ray import tune


def train(config):
    for step in range(1, 3):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "model.txt").write_text(str(step))
            tune.report({"loss": config["x"] / step}, checkpoint=tune.Checkpoint.from_directory(folder))
    if config["x"] > 0.5 and not Path(config["mended"]).exists():
        raise RuntimeError("not mended yet")
"""


@pytest.mark.slow
def test_an_ended_sweep_goes_on_in_every_way(page: Page, client: Client, tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text(SAVING_TRIAL)
    mended = tmp_path / "mended"
    spec = {
        "name": "pressed",
        "trainable": "train:train",
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}, "mended": str(mended)},
        "search": {"algorithm": "random", "seed": 1, "points": [{"x": 0.2}, {"x": 0.8}]},
        "budget": {"trials": 2},
        "failures": {"max_retries": 0},
        "tracking": {"tensorboard": False},
    }
    sweep = client.submit(spec, code=code)
    sweep.wait(timeout_s=120, progress=False)
    page.goto(f"/sweeps/{sweep.id}")
    trials = page.locator(".facts > div").filter(has=page.get_by_text("trials", exact=True))
    ended = page.locator(".sweep-title .chip")
    expect(ended).to_have_text("✓ succeeded")

    page.get_by_text("More ▾").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download best checkpoint").click()
    assert download.value.suggested_filename == f"{sweep.id}-0-2.tar"
    with tarfile.open(download.value.path()) as archive:
        assert "model.txt" in archive.getnames()

    mended.touch()
    page.get_by_role("button", name="Retry what failed").click()
    expect(page.get_by_text("What failed and was not tried again yet is tried")).to_be_visible()
    expect(page.locator(".trials .count")).to_have_text("3 trials", timeout=STARTS_MS)
    expect(ended).to_have_text("✓ succeeded", timeout=STARTS_MS)

    page.get_by_role("button", name="Extend…").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Trials", exact=True).fill("4")
    dialog.get_by_role("button", name="Extend it").click()
    expect(trials).to_contain_text("5 of 5", timeout=STARTS_MS)
    expect(ended).to_have_text("✓ succeeded", timeout=STARTS_MS)

    page.goto(f"/sweeps/{sweep.id}/trials/0")
    page.get_by_role("button", name="Reproduce").click()
    page.wait_for_url(re.compile(f"/sweeps/(?!{sweep.id})swp_[^/]+$"))
    expect(ended).to_have_text("✓ succeeded", timeout=STARTS_MS)

    page.goto(f"/sweeps/{sweep.id}")
    page.get_by_text("More ▾").click()
    page.get_by_role("link", name="Clone…").click()
    editor = page.get_by_label("The spec, in YAML")
    expect(editor).to_have_value(re.compile("^name: pressed\n"))
    editor.fill(editor.input_value().replace("name: pressed", "name: pressed-again"))
    page.get_by_role("button", name="Submit", exact=True).click()
    page.wait_for_url(re.compile("/sweeps/swp_"))
    expect(page.get_by_role("heading", name="pressed-again")).to_be_visible()
    expect(ended).to_have_text("✓ succeeded", timeout=STARTS_MS)
    assert client.sweep("pressed-again").refresh().num_trials == 4
