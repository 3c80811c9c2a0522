"""`toprung webhook`, against the real app and a real receiver."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from tests.unit.cli.cli_help import run
from tests.unit.cli.conftest import serving
from tests.unit.serve.receiver import receiving

from toprung.serve.webhooks.telling import Telling


def test_a_webhook_from_its_making_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "config.yaml").write_text("webhooks: {allow: [127.0.0.0/8]}\n")
    stop = threading.Event()
    with receiving() as receiver, serving(home, monkeypatch, auth=False) as served:
        telling = Telling(served.store, home)

        def tell() -> None:
            while not stop.wait(0.02):
                telling.step()

        thread = threading.Thread(target=tell)
        thread.start()
        try:
            made = run("webhook", "create", receiver.url, "--event", "sweep.ended", "--json").json
            assert made["events"] == ["sweep.ended"]
            assert "whsec_" not in run("webhook", "list").out
            assert run("webhook", "test", made["id"]).out.startswith("delivered: 204 in ")
            receiver.answers = [500]
            failed = run("webhook", "test", made["id"])
            assert (failed.code, "500 Internal Server Error" in failed.out) == (1, True)
            sent = run("webhook", "deliveries", made["id"], "--json").json["items"]
            assert [delivery["state"] for delivery in sent] == ["failed", "delivered"]
            assert "the address answers 500" in run("webhook", "deliveries", made["id"]).out
            assert run("webhook", "delete", made["id"]).code == 0
            assert run("webhook", "test", made["id"]).code == 4
        finally:
            stop.set()
            thread.join()
            telling.close()


def test_the_secret_is_alone_on_stdout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(tmp_path / "home", monkeypatch, auth=False):
        done = run("webhook", "create", "https://8.8.8.8/hook")
        assert done.out.startswith("whsec_")
        refused = run("webhook", "create", "http://10.0.0.1/hook")
        assert (refused.code, "config.yaml" in refused.err) == (2, True)
