"""Requests with retries. No I/O here: operations yield what they need, see `toprung.client.effects`.

What is sent again: GET and PUT, which change nothing the second time; a submission and a request for trials, with an
idempotency key; what a second try finds done already, such as a cancellation, a pause, an edit; a deletion,
which names a sweep by its id; a token's making and revoking; a clean-up; a check-up; a node's return. There are
no other calls.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import httpx

from toprung.client.answers import Reply
from toprung.client.effects import Head, Op, Request, open_response, read_all, sleep
from toprung.errors import NoService, ToprungError, Unavailable

_LONGEST_RETRY_AFTER_S = 60.0
_JITTER = random.Random()  # its own: the user may have seeded the global one


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to go on when the service doesn't answer."""

    max_failures: int
    """Failures in a row after which to give up."""
    max_timeouts: int = 2
    """The same where the last failure was a timeout: each already took long."""
    first_delay_s: float = 0.5
    max_delay_s: float = 8.0

    def delay_s(self, failures: int) -> float:
        """Exponential, with jitter so that many clients don't come back at the same moment."""
        full = min(self.max_delay_s, self.first_delay_s * 2.0 ** (failures - 1))
        return full * _JITTER.uniform(0.5, 1.0)


CALL = Patience(max_failures=5)
"""About eight seconds in all."""
FIRST_CONTACT = Patience(max_failures=2, first_delay_s=0.2)
"""Nothing listens there, and never has: it's a wrong URL or no service, not a restart."""
LONG_WAIT = Patience(max_failures=12, max_timeouts=4)
"""About a minute: streams and waits outlive a restart of the service."""


class Busy(Exception):
    """The service, or a proxy in front of it, cannot answer now."""

    def __init__(self, reply: Reply) -> None:
        super().__init__()
        self.reply = reply


class Exchange:
    """Sends requests to one service, and remembers whether it was ever there."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._answered = False

    def call(self, request: Request, patience: Patience = CALL) -> Op[Reply]:
        """Send until there is an answer that counts, a success or an error.

        Raises:
            NoService: nothing answers at the URL.
            Unavailable: the connection breaks each time, or the service is busy each time.
        """
        failures = 0
        while True:
            try:
                head = yield from self.open(request)
                reply = yield from self.rest(head)
                return replace(reply, tries=failures + 1)
            except (httpx.TransportError, Busy) as error:
                failures += 1
                yield from self.pause(failures, patience, error)

    def stream(self, request: Request, media_type: str) -> Op[Head | None]:
        """Open a stream, once; its chunks are still to be read. None: it has ended (204).

        Raises:
            httpx.TransportError: no answer.
            Busy: try again.
            ToprungError: the service refused.
        """
        head = yield from self.open(request)
        if head.status == 200 and head.media_type == media_type:
            return head
        reply = yield from self.rest(head)
        if head.status == 204:
            return None
        raise reply.error()

    def open(self, request: Request) -> Op[Head]:
        """Send once; the body is still to be read.

        Raises:
            httpx.TransportError: no answer.
        """
        head = yield from open_response(request)
        self._answered = True
        return head

    def rest(self, head: Head) -> Op[Reply]:
        """The open response, read to its end.

        Raises:
            httpx.TransportError: it broke off.
            Busy: try again.
        """
        body = yield from read_all()
        reply = Reply(head, body, self.url)
        if reply.busy:
            raise Busy(reply)
        return reply

    def pause(self, failures: int, patience: Patience, error: httpx.TransportError | Busy) -> Op[None]:
        """Wait before the next try.

        Raises:
            ToprungError: there have been enough tries.
        """
        if _is_no_connection(error) and not self._answered:
            patience = FIRST_CONTACT
        timed_out = isinstance(error, httpx.TimeoutException)
        if failures >= (patience.max_timeouts if timed_out else patience.max_failures):
            raise self.failure(error) from error
        asked_s = retry_after_s(error.reply.head.headers) if isinstance(error, Busy) else None
        yield from sleep(patience.delay_s(failures) if asked_s is None else asked_s)

    def failure(self, error: httpx.TransportError | Busy) -> ToprungError:
        """What it means for the user."""
        if isinstance(error, Busy):
            return error.reply.error()
        if _is_no_connection(error):
            return NoService(f"No Toprung service at {self.url}. Start one with `toprung up`, or set TOPRUNG_URL.")
        if isinstance(error, httpx.TimeoutException):
            return Unavailable(f"{self.url} did not answer in time. Try again, or give the client a larger timeout_s.")
        return Unavailable(f"The connection to {self.url} broke ({error or type(error).__name__}). Try again.")


def _is_no_connection(error: Exception) -> bool:
    return isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)


def retry_after_s(headers: httpx.Headers) -> float | None:
    """The server's Retry-After in seconds (a number or an HTTP date), at most a minute; None where there is none."""
    text = headers.get("retry-after", "")
    try:
        delay_s = float(text)
    except ValueError:
        try:
            delay_s = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):  # not a date; a date without a time zone
            return None
    return min(max(delay_s, 0.0), _LONGEST_RETRY_AFTER_S) if delay_s == delay_s else None
