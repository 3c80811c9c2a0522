"""A real service with access control: the admin's first token, an owner's sweep, and no secret left anywhere."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.conftest import HERE, WAIT_S, Service
from toprung import Client
from toprung.errors import Forbidden, Unauthorized

WANDB_KEY = "ca4a" * 10
STARTERS_TOKEN = "tpr_starter_" + "ca4b" * 16
SPEC = {
    "name": "hers",
    "trainable": "trainables:looks_for_a_token",
    "metric": {"name": "loss", "goal": "minimize"},
    "parameters": {"x": {"type": "float", "low": 0.0, "high": 1.0}},
    "budget": {"trials": 2},
    "failures": {"max_retries": 0},
    "tracking": {"tensorboard": False, "wandb": {"project": "p", "mode": "offline"}},
}


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Service]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_API_KEY", WANDB_KEY)
        patch.setenv("TOPRUNG_TOKEN", STARTERS_TOKEN)
        running = Service(tmp_path / "home", "--num-cpus", "2", "--auth")
    yield running
    running.stop()


@pytest.mark.slow
def test_tokens_owners_and_no_secret_left_anywhere(guarded: Service) -> None:
    home = guarded.home
    assert (home / "token").stat().st_mode & 0o777 == 0o600
    assert json.loads((home / "service.json").read_text())["auth"] is True
    root = (home / "token").read_text().strip()
    refused = httpx.get(f"{guarded.url}/v1/sweeps", headers={"Authorization": f"Bearer {STARTERS_TOKEN}"})
    assert refused.status_code == 401
    with Client(guarded.url, token=root) as admin:
        alice, bob = (admin.create_token(owner=name, scope="write").token for name in ("alice", "bob"))
    with Client(guarded.url, token=alice) as client, Client(guarded.url, token=bob) as other:
        sweep = client.submit(SPEC, code=HERE / "userland")
        with pytest.raises(Forbidden, match="belongs to alice") as forbidden:
            other.sweep("hers").cancel()
        ended = sweep.wait(timeout_s=WAIT_S, progress=False)
        assert (ended.state, ended.owner) == ("succeeded", "alice"), ended.reason
        assert sweep.trial(0).record.metrics["token"] == "none"
        events = [event.model_dump_json() for event in other.sweep("hers").events()]
        logs = ["".join(trial.logs()) for trial in sweep.trials()]
    with Client(guarded.url, token="tpr_none") as nobody, pytest.raises(Unauthorized) as unauthorized:
        nobody.sweep("hers")

    told = [*events, *logs, refused.text, str(refused.headers), str(forbidden.value), str(unauthorized.value)]
    kept = {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert any("hello" in text for text in logs)
    assert {"toprung.db", "audit.jsonl"} <= kept.keys()
    assert any(name.startswith("wandb/") for name in kept)
    assert kept.pop("token").decode().strip() == root
    everything = b"\0".join([guarded.log.read_bytes(), *kept.values(), *(text.encode() for text in told)])
    assert b"made the admin token tpr_" in everything, "the log is looked through"
    for secret in (root[16:], alice[16:], bob[16:], STARTERS_TOKEN, WANDB_KEY):
        assert secret.encode() not in everything, [name for name in kept if secret.encode() in kept[name]]
