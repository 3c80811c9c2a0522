"""Where the service is, and the token for it: the defaults of `Client(url, token=…)`."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from pathlib import Path
from typing import Any

import httpx

from toprung import __version__
from toprung.errors import InvalidInput, Malformed

DEFAULT_URL = "http://127.0.0.1:8000"
_CONNECT_TIMEOUT_S = 10.0
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
"""RFC 6750, 2.1: b64token."""


def default_home() -> Path:
    """$TOPRUNG_HOME, else ~/.toprung."""
    return Path(os.environ.get("TOPRUNG_HOME") or Path.home() / ".toprung")


def default_url() -> str:
    """$TOPRUNG_URL, else the service that `toprung up` started on this machine, else port 8000 here."""
    if url := os.environ.get("TOPRUNG_URL", "").strip():
        return url
    found = _facts(default_home()).get("url")
    return found if isinstance(found, str) else DEFAULT_URL


def default_token(url: httpx.URL, home: Path | None = None) -> str | None:
    """$TOPRUNG_TOKEN, else the one that the service of `home` (default: $TOPRUNG_HOME) wrote down for its own user.

    The latter is an admin's, and goes to that service alone: its URL must be `url`, and its process must live, so that
    nobody who takes the port after a crash is given the token.
    """
    if token := os.environ.get("TOPRUNG_TOKEN", "").strip():
        return token
    home = default_home() if home is None else home
    facts = _facts(home)
    try:
        if checked_url(str(facts.get("url"))) != url or not _lives(int(facts.get("pid", 0))):
            return None
        return (home / "token").read_text(encoding="utf-8").strip() or None
    except (OSError, ValueError, TypeError, Malformed):
        return None


def _facts(home: Path) -> dict[str, Any]:
    """What `service.json` says; nothing where no service was started, or it is just being written."""
    try:
        facts = json.loads((home / "service.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def _lives(pid: int) -> bool:
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except OSError:  # it is gone, or another user's
        return False
    return True


def checked_token(token: str) -> str:
    """`token`, if it can be sent.

    Raises:
        InvalidInput: it can't; the text doesn't repeat it.
    """
    if _TOKEN.fullmatch(token) is None:
        raise InvalidInput(
            "The token given (token= or TOPRUNG_TOKEN) is none: it has characters that no token has, a space or a "
            "line break perhaps. Copy it again; it begins with tpr_."
        )
    return token


def checked_url(url: str) -> httpx.URL:
    """`url` without a trailing slash.

    Raises:
        Malformed: it isn't the address of an HTTP service.
    """
    try:
        parsed = httpx.URL(url.rstrip("/"))
    except httpx.InvalidURL:
        parsed = httpx.URL()
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise Malformed(f"The service's URL is {url!r}; it should look like {DEFAULT_URL}.")
    return parsed


def is_loopback(url: httpx.URL) -> bool:
    """Whether the service is on this machine, where no proxy of the environment can reach it."""
    if url.host == "localhost":
        return True
    try:
        return ipaddress.ip_address(url.host).is_loopback
    except ValueError:
        return False


def connect_options(url: str | None, token: str | None, timeout_s: float) -> dict[str, Any]:
    """The arguments of `httpx.Client` and `httpx.AsyncClient`.

    Raises:
        Malformed: `url`, or the default, isn't the address of an HTTP service.
        InvalidInput: `token`, or the default, has characters that no token has.
    """
    base_url = checked_url(default_url() if url is None else url)
    token = default_token(base_url) if token is None else token.strip()
    headers = {"User-Agent": f"toprung/{__version__}"}
    if token:
        headers["Authorization"] = f"Bearer {checked_token(token)}"
    return {
        "base_url": base_url,
        "timeout": httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S)),
        "trust_env": not is_loopback(base_url),
        "headers": headers,
    }
