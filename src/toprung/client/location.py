"""Where the service is: the default of `Client(url)`."""

from __future__ import annotations

import ipaddress
import json
import os
from pathlib import Path
from typing import Any

import httpx

from toprung import __version__
from toprung.errors import Malformed

DEFAULT_URL = "http://127.0.0.1:8000"
_CONNECT_TIMEOUT_S = 10.0


def default_url() -> str:
    """$TOPRUNG_URL, else the service that `toprung up` started on this machine, else port 8000 here."""
    if url := os.environ.get("TOPRUNG_URL", "").strip():
        return url
    home = Path(os.environ.get("TOPRUNG_HOME") or Path.home() / ".toprung")
    try:
        url = json.loads((home / "service.json").read_text(encoding="utf-8"))["url"]
    except (OSError, ValueError, KeyError, TypeError):  # not started here, or just being written
        return DEFAULT_URL
    return url if isinstance(url, str) else DEFAULT_URL


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


def connect_options(url: str | None, timeout_s: float) -> dict[str, Any]:
    """The arguments of `httpx.Client` and `httpx.AsyncClient`.

    Raises:
        Malformed: `url`, or the default, isn't the address of an HTTP service.
    """
    base_url = checked_url(default_url() if url is None else url)
    return {
        "base_url": base_url,
        "timeout": httpx.Timeout(timeout_s, connect=min(timeout_s, _CONNECT_TIMEOUT_S)),
        "trust_env": not is_loopback(base_url),
        "headers": {"User-Agent": f"toprung/{__version__}"},
    }
