"""Webhooks: from events to a real receiver on loopback."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError
from tests.integration.conftest import free_port, until
from tests.unit.cli.cli_served import new_sweep, result, trial
from tests.unit.serve.receiver import Receiver, receiving

from toprung.access import Scope
from toprung.serve.http.app import create_app
from toprung.serve.settings import WebhookSettings
from toprung.serve.store import Store
from toprung.serve.webhooks import sending
from toprung.serve.webhooks.address import Refused, resolve
from toprung.serve.webhooks.following import BEST_EVERY_S, Following
from toprung.serve.webhooks.payload import body
from toprung.serve.webhooks.sending import DELAYS_S, Sending
from toprung.serve.webhooks.signing import headers
from toprung.tuning.records import Batch, Failure, Milestone, Sweep, SweepState, utc_now
from toprung.tuning.webhooks import NewWebhook, WebhookEvent, WebhookFormat, WebhookSweeps

LOOPBACK = WebhookSettings(allow=(ip_network("127.0.0.0/8"),))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


class Teller:
    """What the service's process does, a step at a time."""

    def __init__(self, store: Store, home: Path) -> None:
        self.now = 0.0
        self.store = store
        self._sending = Sending(store, LOOPBACK)
        self._following = Following(store, home, LOOPBACK, clock=lambda: self.now)

    def read(self) -> None:
        while self._following.step():
            pass

    def send(self) -> None:
        while self._sending.step():
            self._sending.settle()

    def step(self) -> None:
        self.read()
        self.send()

    def close(self) -> None:
        self._sending.close()


@pytest.fixture
def teller(store: Store, tmp_path: Path) -> Iterator[Teller]:
    made = Teller(store, tmp_path)
    yield made
    made.close()


def hook(store: Store, receiver: Receiver, **fields: Any) -> NewWebhook:
    return store.webhooks.create(receiver.url, **({"events": tuple(WebhookEvent)} | fields))


def running(store: Store, name: str = "digits-cnn") -> Sweep:
    sweep = new_sweep(store, name)
    return store.set_sweep_state(sweep.id, SweepState.RUNNING)


def end(store: Store, sweep: Sweep) -> None:
    store.set_sweep_state(sweep.id, SweepState.SUCCEEDED, "all 3 trials ended")


def told(receiver: Receiver) -> list[dict[str, Any]]:
    return [json.loads(got.body) for got in receiver.got]


def retry_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "DELAYS_S", (0.0,) * len(DELAYS_S))


# -- what is told ---------------------------------------------------------------------------------------------------


def test_the_end_of_a_sweep_arrives_signed(store: Store, teller: Teller, receiver: Receiver) -> None:
    made = hook(store, receiver)
    sweep = running(store)
    store.write(Batch(sweep_id=sweep.id, trials=[trial(sweep, 0, "completed", step=9, value=0.1, best_step=9)]))
    end(store, sweep)
    teller.step()

    (got,) = [got for got in receiver.got if json.loads(got.body)["type"] == "sweep.ended"]
    message = Verifier(made.secret).verify(got.body, got.headers)
    assert message["data"]["sweep"]["name"] == "digits-cnn"
    assert message["data"]["sweep"]["state"] == "succeeded"
    assert message["data"]["sweep"]["trials"] == {"completed": 1}
    assert message["data"]["link"].endswith(f"/sweeps/{sweep.id}")
    assert got.headers["content-type"] == "application/json"
    with pytest.raises(WebhookVerificationError):
        Verifier(made.secret).verify(got.body + b" ", got.headers)


def listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def test_the_receiver_of_the_documentation_takes_it(store: Store, teller: Teller, tmp_path: Path) -> None:
    page = Path(__file__).parents[3] / "docs" / "webhooks.md"
    code = page.read_text().partition("```python\n")[2].partition("```")[0]
    port = free_port()
    made = store.webhooks.create(f"http://127.0.0.1:{port}/", events=tuple(WebhookEvent))
    env = os.environ | {"SECRET": made.secret, "PORT": str(port)}
    with subprocess.Popen([sys.executable, "-c", code], env=env, stdout=subprocess.PIPE, text=True) as process:
        try:
            until(lambda: listens(port), timeout_s=60, what="the receiver")
            end(store, running(store))
            teller.step()
            assert process.stdout is not None
            assert process.stdout.readline().startswith("sweep.ended {'sweep': {'id': ")
        finally:
            process.kill()


@given(text=st.binary(max_size=200), key=st.binary(min_size=24, max_size=64))
def test_signatures_are_those_of_the_standard(text: bytes, key: bytes) -> None:
    content = json.dumps({"text": text.hex()}).encode()
    secret = "whsec_" + base64.b64encode(key).decode()
    signed = headers(secret, "msg_1", int(utc_now().timestamp()), content)
    assert Verifier(secret).verify(content, signed) == {"text": text.hex()}


def test_the_same_error_is_told_once(store: Store, teller: Teller, receiver: Receiver) -> None:
    hook(store, receiver, events=(WebhookEvent.TRIAL_FAILED,))
    sweep = running(store)
    for number, message in enumerate(["bad shapes", "bad shapes", "no data"]):
        failure = Failure(kind="user_error", message=message)
        store.write(Batch(sweep_id=sweep.id, trials=[trial(sweep, number, "failed", failure=failure)]))
        teller.step()
    assert [message["data"]["trial"]["failure"]["message"] for message in told(receiver)] == ["bad shapes", "no data"]


def test_new_best_values_are_told_once_a_minute(store: Store, teller: Teller, receiver: Receiver) -> None:
    hook(store, receiver, events=(WebhookEvent.SWEEP_BEST,))
    sweep = running(store)
    for step, value in enumerate([0.9, 0.7, 0.8, 0.5], 1):
        fields = {"value": min(0.9, value), "best_step": step, "step": step}
        now = result(0, step, value).model_copy(update={"reported_at": utc_now()})
        store.write(Batch(sweep_id=sweep.id, trials=[trial(sweep, 0, "running", **fields)], results=[now]))
        teller.step()
    assert [message["data"]["sweep"]["best"]["value"] for message in told(receiver)] == [0.9]
    teller.now += BEST_EVERY_S
    teller.step()
    assert [message["data"]["sweep"]["best"]["value"] for message in told(receiver)] == [0.9, 0.5]


def test_budgets_are_told(store: Store, teller: Teller, receiver: Receiver) -> None:
    hook(store, receiver, events=(WebhookEvent.SWEEP_BUDGET,))
    sweep = running(store)
    store.write(Batch(sweep_id=sweep.id, milestones=[Milestone(budget="steps", percent=80, used=80, limit=100)]))
    teller.step()
    assert [message["data"]["budget"]["percent"] for message in told(receiver)] == [80]


def test_what_was_before_is_not_told(store: Store, teller: Teller, receiver: Receiver) -> None:
    end(store, running(store, "before"))
    teller.step()
    hook(store, receiver)
    end(store, running(store, "after"))
    teller.step()
    assert [message["data"]["sweep"]["name"] for message in told(receiver)] == ["after"]


def test_one_is_told_of_ones_own_sweeps(store: Store, teller: Teller, receiver: Receiver) -> None:
    hook(store, receiver, sweeps=WebhookSweeps.OWN, owner="alice")
    for owner in ("alice", "bob"):
        spec = new_sweep(store, "any").spec
        sweep, _ = store.create_sweep(spec, name=f"of-{owner}", num_trials=3, owner=owner)
        store.set_sweep_state(sweep.id, SweepState.RUNNING)
        end(store, sweep)
    teller.step()
    assert [message["data"]["sweep"]["name"] for message in told(receiver)] == ["of-alice"]


def test_slack_gets_a_sentence(store: Store) -> None:
    sweep = running(store).model_copy(update={"state": SweepState.FAILED, "reason": "a < b & c"})
    message = json.loads(body(WebhookFormat.SLACK, WebhookEvent.SWEEP_ENDED, sweep, "https://here/sweeps/1"))
    assert message["text"] == "*<https://here/sweeps/1|digits-cnn> failed* after 0 trials.\na &lt; b &amp; c"
    assert message["blocks"] == [{"type": "section", "text": {"type": "mrkdwn", "text": message["text"]}}]


# -- until it arrives -----------------------------------------------------------------------------------------------


def test_what_fails_is_sent_again(
    store: Store, teller: Teller, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = hook(store, receiver)
    receiver.answers = [500]
    end(store, running(store))
    teller.step()
    (waiting,) = store.webhooks.deliveries(made.id, 10)
    assert (waiting.state, waiting.status, waiting.attempts) == ("pending", 500, 1)
    assert waiting.error == "the address answers 500 Internal Server Error"
    assert waiting.next_at is not None
    assert timedelta(0) < waiting.next_at - utc_now() <= timedelta(seconds=DELAYS_S[0] * (1 + sending.JITTER))

    retry_at_once(monkeypatch)
    receiver.answers = [503, 429]
    end(store, running(store, "other"))
    teller.step()
    arrived = store.webhooks.deliveries(made.id, 10)[0]
    assert (arrived.state, arrived.status, arrived.attempts) == ("delivered", 204, 3)
    assert arrived.duration_ms is not None
    ids = [got.headers["webhook-id"] for got in receiver.got]
    assert ids[1] == ids[2] == ids[3] != ids[0]


def test_a_restart_loses_nothing(store: Store, tmp_path: Path, receiver: Receiver) -> None:
    hook(store, receiver)
    end(store, running(store))
    first = Teller(store, tmp_path)
    first.read()  # and it ends here, before it has sent anything
    first.close()
    second = Teller(store, tmp_path)
    second.step()
    assert [message["type"] for message in told(receiver)] == ["sweep.ended"]
    second.step()
    assert len(receiver.got) == 1
    second.close()


def test_killed_between_sending_and_noting_it_sends_again(
    store: Store, teller: Teller, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    hook(store, receiver)
    end(store, running(store))
    with monkeypatch.context() as patched:
        patched.setattr(store.webhooks, "note", lambda *_, **__: 1 / 0)
        teller.read()
        assert teller._sending.step()
        teller._sending.settle()
    teller.step()
    assert len({got.headers["webhook-id"] for got in receiver.got}) == 1
    assert len(receiver.got) == 2


def test_a_webhook_that_nothing_reaches_is_turned_off(
    store: Store, teller: Teller, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    retry_at_once(monkeypatch)
    made = hook(store, receiver)
    sweep = running(store)
    receiver.answers = [500] * (len(DELAYS_S) + 1)
    end(store, sweep)
    teller.step()
    off = store.webhooks.get(made.id)
    assert off.disabled_reason is not None
    assert off.disabled_reason.startswith("nothing has arrived in 8 attempts")
    warning = store.events_after(0, sweep_id=sweep.id)[-1]
    assert (warning.type, warning.data["source"]) == ("warning", "webhook")
    end(store, running(store, "unheard"))
    teller.step()
    assert len(receiver.got) == 8

    store.webhooks.send_test(made.id, "{}")
    teller.step()
    assert store.webhooks.get(made.id).disabled_at is None


def test_an_address_that_hangs_holds_up_no_other(store: Store, teller: Teller, receiver: Receiver) -> None:
    with socket.socket() as hanging:
        hanging.bind(("127.0.0.1", 0))
        hanging.listen()  # it takes connections, and never answers
        store.webhooks.create(f"http://127.0.0.1:{hanging.getsockname()[1]}/", events=tuple(WebhookEvent))
        hook(store, receiver)
        end(store, running(store))
        teller.read()
        deadline = time.monotonic() + sending.TIMEOUT_S / 2
        while len(receiver.got) < 1 and time.monotonic() < deadline:
            teller._sending.step()
        end(store, running(store, "second"))
        teller.read()
        while len(receiver.got) < 2 and time.monotonic() < deadline:
            teller._sending.step()
        assert [message["data"]["sweep"]["name"] for message in told(receiver)] == ["digits-cnn", "second"]
        hanging.close()


def test_gone_means_never_again(store: Store, teller: Teller, receiver: Receiver) -> None:
    made = hook(store, receiver)
    receiver.answers = [410]
    end(store, running(store))
    teller.step()
    assert store.webhooks.get(made.id).disabled_reason == "the address answers 410 Gone"


def test_an_address_that_does_not_answer(store: Store, teller: Teller, receiver: Receiver) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens there
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/"
        made = store.webhooks.create(url, events=tuple(WebhookEvent))
        end(store, running(store))
        teller.step()
    (waiting,) = store.webhooks.deliveries(made.id, 10)
    assert (waiting.state, waiting.status) == ("pending", None)
    assert waiting.error is not None
    assert waiting.error.startswith("ConnectError")


def test_redirects_are_not_followed(store: Store, teller: Teller, receiver: Receiver) -> None:
    made = hook(store, receiver)
    receiver.answers, receiver.headers = [307], {"Location": f"http://127.0.0.1:{receiver.port}/other"}
    end(store, running(store))
    teller.step()
    assert [got.path for got in receiver.got] == ["/hook"]
    assert store.webhooks.deliveries(made.id, 1)[0].status == 307


def test_old_deliveries_are_forgotten(
    store: Store, teller: Teller, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = hook(store, receiver)
    end(store, running(store))
    teller.step()

    def left(later: timedelta) -> int:
        """Deliveries that a service which begins so much later still knows."""
        monkeypatch.setattr(sending, "utc_now", lambda: utc_now() + later)
        another = Sending(store, LOOPBACK)
        another.step()
        another.close()
        return len(store.webhooks.deliveries(made.id, 10))

    minute = timedelta(minutes=1)
    assert left(sending.KEPT - minute) > 0
    assert left(sending.KEPT + minute) == 0


# -- where it may go ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        *(
            "127.0.0.1",
            "localhost",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.169.254",
            "0.0.0.0",
            "100.64.0.1",
        ),
        *("[::1]", "[fe80::1]", "[fd00::1]", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[::]"),
        *("224.0.0.1", "100.64.0.1", "2130706433", "0x7f.1"),
    ],
)
def test_addresses_that_are_not_public_are_refused(host: str) -> None:
    with pytest.raises((Refused, OSError)):
        resolve(f"https://{host}/hook", ())


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://8.8.8.8/", "must be an http or https URL"),
        ("8.8.8.8", "must be an http or https URL"),
        ("https://", "must be an http or https URL"),
        ("https:///x", "must be an http or https URL"),
        (f"https://8.8.8.8/{'x' * 2_000}", "at most 2,000 characters"),
        ("https://8.8.8.8:port/", "is no URL"),
        ("https://me:secret@8.8.8.8/", "must not hold a user or a password"),
        ("http://8.8.8.8/", "must be https"),
    ],
)
def test_urls_that_are_none(url: str, why: str) -> None:
    with pytest.raises(Refused, match=why):
        resolve(url, ())


def test_public_addresses_are_fine() -> None:
    assert str(resolve("https://8.8.8.8/hook", ()).address) == "8.8.8.8"


def test_the_address_that_was_checked_is_the_one_that_is_asked(
    store: Store, teller: Teller, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that leads elsewhere a moment later leads nowhere else."""
    looked_up: list[str] = []
    real = socket.getaddrinfo

    def lookup(host: str, *args: Any, **kwargs: Any) -> Any:
        if host == "hooks.example":
            looked_up.append(host)
            host = "127.0.0.1"
        return real(host, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    store.webhooks.create(f"http://hooks.example:{receiver.port}/x", events=tuple(WebhookEvent))
    end(store, running(store))
    teller.step()
    assert looked_up == ["hooks.example"]
    assert receiver.got[0].headers["host"] == f"hooks.example:{receiver.port}"


# -- over HTTP ------------------------------------------------------------------------------------------------------


class TestOverHttp:
    async def test_made_listed_tried_deleted(self, store: Store, tmp_path: Path, receiver: Receiver) -> None:
        (tmp_path / "config.yaml").write_text("webhooks: {allow: [127.0.0.0/8]}\n")
        transport = httpx.ASGITransport(create_app(store, tmp_path))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            answer = await http.post("/v1/webhooks", json={"url": receiver.url, "events": ["sweep.ended"]})
            assert answer.status_code == 201
            made = answer.json()
            assert made["secret"].startswith("whsec_")
            assert (made["sweeps"], made["events"]) == ("all", ["sweep.ended"])
            (listed,) = (await http.get("/v1/webhooks")).json()["items"]
            assert "secret" not in listed
            answer = await http.post(f"/v1/webhooks/{made['id']}:test")
            assert (answer.status_code, answer.json()["state"]) == (202, "pending")
            teller = Teller(store, tmp_path)
            teller.step()
            teller.close()
            (sent,) = (await http.get(f"/v1/webhooks/{made['id']}/deliveries")).json()["items"]
            assert (sent["event"], sent["state"], sent["status"]) == ("test", "delivered", 204)
            assert (await http.delete(f"/v1/webhooks/{made['id']}")).status_code == 204
            assert (await http.delete(f"/v1/webhooks/{made['id']}")).json()["code"] == "not_found"

    @pytest.mark.parametrize(
        ("given", "pointer"),
        [
            ({"url": "http://127.0.0.1/"}, "/url"),
            ({"url": "https://no-such-host.invalid/"}, "/url"),
            ({"url": "https://8.8.8.8/", "events": ["sweep.paused"]}, "/events/0"),
            ({"url": "https://8.8.8.8/", "events": []}, "/events"),
            ({"url": "https://8.8.8.8/", "format": "teams"}, "/format"),
            ({}, "/url"),
        ],
    )
    async def test_what_is_wrong_is_named(self, http: httpx.AsyncClient, given: dict[str, Any], pointer: str) -> None:
        answer = await http.post("/v1/webhooks", json=given)
        assert answer.status_code == 400
        assert answer.json()["errors"][0]["pointer"] == pointer

    async def test_they_are_their_owners(self, store: Store, tmp_path: Path) -> None:
        tokens = {
            name: {"Authorization": f"Bearer {store.create_token(name, scope).token}"}
            for name, scope in (
                ("root", Scope.ADMIN),
                ("alice", Scope.WRITE),
                ("bob", Scope.WRITE),
                ("eve", Scope.READ),
            )
        }
        transport = httpx.ASGITransport(create_app(store, tmp_path, auth=True))
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as http:
            url = {"url": "https://8.8.8.8/x"}
            made = (await http.post("/v1/webhooks", json=url, headers=tokens["alice"])).json()
            assert (made["sweeps"], made["owner"]) == ("own", "alice")
            all_of = await http.post("/v1/webhooks", json=url | {"sweeps": "all"}, headers=tokens["alice"])
            assert all_of.status_code == 403
            seen = {
                name: (await http.get("/v1/webhooks", headers=token)).json().get("items")
                for name, token in tokens.items()
            }
            assert {name: items and len(items) for name, items in seen.items()} == {
                "root": 1,
                "alice": 1,
                "bob": [],
                "eve": None,
            }
            for method, path in (("DELETE", ""), ("POST", ":test"), ("GET", "/deliveries")):
                path = f"/v1/webhooks/{made['id']}{path}"
                assert (await http.request(method, path, headers=tokens["bob"])).status_code == 403
            assert (await http.delete(f"/v1/webhooks/{made['id']}", headers=tokens["root"])).status_code == 204
