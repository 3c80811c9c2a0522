"""Where a webhook may go. What is checked is the address that is then connected to, not a name that may change."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection
from dataclasses import dataclass

import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_URL = 2_000
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Refused(ValueError):
    """A webhook may not go there; says why, and what to do."""


@dataclass(frozen=True)
class Place:
    """An address that was checked."""

    url: httpx.URL
    """As it was given."""
    address: Address


def checked_url(text: str) -> httpx.URL:
    """The URL, if it can be a webhook's.

    Raises:
        Refused: it can't.
    """
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, TypeError):
        raise Refused("is no URL; write https://host/path") from None
    if url.scheme not in ("http", "https") or not url.host or len(text) > MAX_URL:
        raise Refused(f"must be an http or https URL of at most {MAX_URL:,} characters")
    if url.userinfo:
        raise Refused("must not hold a user or a password; messages are signed instead")
    return url


def resolve(text: str, allowed: Collection[Network]) -> Place:
    """Look the URL's host up, and check what it comes to.

    Args:
        allowed: networks that are not public and may be reached all the same.

    Raises:
        Refused: none of its addresses may be reached, or only over https.
        OSError: the name has no address.
    """
    url = checked_url(text)
    port = url.port or (443 if url.scheme == "https" else 80)
    found = socket.getaddrinfo(url.host, port, type=socket.SOCK_STREAM)
    addresses = [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]
    for address in addresses:
        if _listed(address, allowed) or (url.scheme == "https" and is_public(address)):
            return Place(url, address)
    if any(map(is_public, addresses)):
        raise Refused("must be https, as it leaves this network")
    raise Refused(
        f"leads to {addresses[0]}, which is not public; who runs the service can allow it: "
        "`webhooks: {allow: [network]}` in config.yaml"
    )


def is_public(address: Address) -> bool:
    """Whether it is anybody's on the internet: not private, loopback, link-local, or a way around these."""
    return all(part.is_global and not part.is_multicast for part in _meant(address))


def _listed(address: Address, networks: Collection[Network]) -> bool:
    return any(part in network for part in _meant(address) for network in networks if part.version == network.version)


def _meant(address: Address) -> list[Address]:
    """The address, or the IPv4 ones that it wraps."""
    if isinstance(address, ipaddress.IPv4Address):
        return [address]
    if address in _NAT64:
        return [ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)]
    wrapped = address.ipv4_mapped or address.sixtofour
    return [wrapped] if wrapped is not None else list(address.teredo or [address])
