"""Sessions of a browser, for pages that can't send a token by themselves.

Who shows a token gets a cookie that says whose it was and until when, signed with a key that this process alone has
(HMAC-SHA256, RFC 2104). The token is not in it, and a session ends with its token. Kept is only who has logged out.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time

SESSION_S = 12 * 3600


class Sessions:
    """Makes and reads the values of cookies."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._ended: dict[str, int] = {}
        """Cookies whose user has logged out, until they end by themselves."""

    def begin(self, token_id: str, now: float | None = None) -> str:
        """The cookie of who has shown this token.

        Args:
            now: Unix time.
        """
        ends_at = int(time.time() if now is None else now) + SESSION_S
        text = f"{token_id}.{ends_at}.{secrets.token_hex(8)}"
        return f"{text}.{self._signature(text)}"

    def token_id(self, cookie: str, now: float | None = None) -> str | None:
        """Whose token it was; None for what is not a cookie of ours, or not any more."""
        text, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(text).encode()) or text in self._ended:
            return None
        token_id, ends_at, _ = text.split(".")
        return token_id if (time.time() if now is None else now) < int(ends_at) else None

    def end(self, cookie: str, now: float | None = None) -> None:
        """Makes a cookie worthless: its user has logged out."""
        if self.token_id(cookie, now) is None:
            return
        moment = time.time() if now is None else now
        self._ended = {text: ends_at for text, ends_at in self._ended.items() if ends_at > moment}
        text = cookie.rpartition(".")[0]
        self._ended[text] = int(text.split(".")[1])

    def _signature(self, text: str) -> str:
        return hmac.new(self._key, text.encode(), hashlib.sha256).hexdigest()
