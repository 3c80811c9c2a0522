"""Sends what is due. What does not arrive is sent again over a day, then given up, and the webhook with it."""

from __future__ import annotations

import logging
import random
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

import httpx

from toprung import __version__
from toprung.errors import NotFound
from toprung.serve.settings import WebhookSettings
from toprung.serve.store import Store
from toprung.serve.store.webhooks import TEST, Due
from toprung.serve.webhooks.address import Refused, resolve
from toprung.serve.webhooks.signing import headers
from toprung.tuning.records import utc_now

logger = logging.getLogger(__name__)

DELAYS_S = (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600, 10 * 3600)
"""Between the attempts, as Standard Webhooks proposes: eight in 27 hours and a half."""
JITTER = 0.2
"""Each is up to so much longer, so that what failed together doesn't come back together."""
TIMEOUT_S = 10.0
AT_ONCE = 8
KEPT = timedelta(days=30)
"""How long finished deliveries are listed."""
_FORGET_EVERY_S = 3600.0
_LONGEST_RETRY_AFTER_S = 24 * 3600


@dataclass(frozen=True)
class Outcome:
    """What an attempt came to."""

    status: int | None
    error: str | None
    duration_ms: float
    final: bool = False
    """Trying again would not help."""
    retry_after_s: float = 0.0


class Sending:
    """One process alone sends; the store says what."""

    def __init__(self, store: Store, settings: WebhookSettings) -> None:
        self._store = store
        self._allowed = settings.allow
        self._jitter = random.Random()
        self._forgot_at = float("-inf")
        # without the environment's proxies: these would look names up themselves. No connection is kept: two names may
        # lead to one address
        self._http = httpx.Client(
            timeout=TIMEOUT_S,
            follow_redirects=False,
            trust_env=False,
            limits=httpx.Limits(max_keepalive_connections=0),
            headers={"User-Agent": f"toprung/{__version__}", "Content-Type": "application/json"},
        )
        self._pool = ThreadPoolExecutor(AT_ONCE, "webhook")
        self._flying: dict[str, Future[None]] = {}
        """What is on its way, by webhook."""

    def step(self) -> bool:
        """Begin to send what is due. Returns whether anything was."""
        if time.monotonic() - self._forgot_at > _FORGET_EVERY_S:
            self._forgot_at = time.monotonic()
            self._store.webhooks.forget(utc_now() - KEPT)
        self._landed()
        begun = False
        # one message at a time to each webhook: one that hangs holds up only what is to go there
        for due in self._store.webhooks.due(limit=200, besides=self._flying):
            webhook_id = due.delivery.webhook_id
            if webhook_id not in self._flying and len(self._flying) < AT_ONCE:
                self._flying[webhook_id] = self._pool.submit(self._deliver, due)
                begun = True
        return begun

    def settle(self, timeout_s: float | None = None) -> None:
        """Wait for what is on its way."""
        wait(self._flying.values(), timeout_s)
        self._landed()

    def _landed(self) -> None:
        for webhook_id, flight in list(self._flying.items()):
            if flight.done():
                del self._flying[webhook_id]
                if (error := flight.exception()) is not None:  # the store is away, say: it is sent again
                    logger.error("a message of webhook %s was not noted", webhook_id, exc_info=error)

    def close(self) -> None:
        """Wait for what is on its way."""
        self._pool.shutdown()
        self._http.close()

    def _deliver(self, due: Due) -> None:
        delivery = due.delivery
        outcome = self._attempt(due)
        delay_s = None if outcome.error is None or outcome.final else self._delay_s(due, outcome)
        self._store.webhooks.note(
            delivery.id,
            status=outcome.status,
            error=outcome.error,
            duration_ms=outcome.duration_ms,
            next_at=None if delay_s is None else utc_now() + timedelta(seconds=delay_s),
        )
        if delivery.event == TEST:
            if outcome.error is None:
                self._store.webhooks.disable(delivery.webhook_id, None)
        elif outcome.status == httpx.codes.GONE:
            self._disable(due, "the address answers 410 Gone")
        elif outcome.error is not None and delay_s is None:
            if outcome.final:
                self._disable(due, outcome.error)
            elif not self._store.webhooks.arrived_since(delivery.webhook_id, delivery.created_at):
                self._disable(due, f"nothing has arrived in {len(DELAYS_S) + 1} attempts, the last: {outcome.error}")

    def _attempt(self, due: Due) -> Outcome:
        began = time.monotonic()

        def outcome(status: int | None, error: str | None, **more: float) -> Outcome:
            return Outcome(status, error, (time.monotonic() - began) * 1000, **more)  # type: ignore[arg-type]  # its other fields

        body = due.body.encode("utf-8", "replace")
        try:
            place = resolve(due.url, self._allowed)
            signed = headers(due.secret, due.delivery.id, int(time.time()), body)
            host = place.url.netloc.decode("ascii")
            request = self._http.build_request(
                "POST",
                place.url.copy_with(host=str(place.address)),
                content=body,
                headers={**signed, "Host": host},
                extensions={"sni_hostname": place.url.raw_host.decode("ascii")},
            )
            answer = self._http.send(request, stream=True)
            answer.close()  # what it says is of no interest, however long
        except Refused as refused:
            return outcome(None, f"the address {refused}", final=True)
        except (httpx.HTTPError, OSError, UnicodeError) as error:
            return outcome(None, f"{type(error).__name__}: {error}"[:500])
        if answer.is_success:
            return outcome(answer.status_code, None)
        told = f"the address answers {answer.status_code} {answer.reason_phrase}".strip()
        return outcome(answer.status_code, told, retry_after_s=_retry_after_s(answer))

    def _delay_s(self, due: Due, outcome: Outcome) -> float | None:
        """Until the next attempt; None: there is none."""
        if due.delivery.event == TEST or due.delivery.attempts >= len(DELAYS_S):
            return None
        delay_s = DELAYS_S[due.delivery.attempts] * (1 + JITTER * self._jitter.random())
        return max(delay_s, outcome.retry_after_s)

    def _disable(self, due: Due, reason: str) -> None:
        logger.warning("webhook %s is off: %s", due.delivery.webhook_id, reason)
        self._store.webhooks.disable(due.delivery.webhook_id, reason)
        if due.delivery.sweep_id is not None:
            message = f"webhook {due.delivery.webhook_id} is off: {reason}. A test that arrives turns it on again."
            with suppress(NotFound):  # deleted in the meantime
                self._store.add_event(due.delivery.sweep_id, "warning", {"source": "webhook", "message": message})


def _retry_after_s(answer: httpx.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return float(min(int(text), _LONGEST_RETRY_AFTER_S)) if text.isdecimal() and len(text) < 10 else 0.0
