"""The address that the service listens on."""

from __future__ import annotations

import errno
import ipaddress
import socket

from toprung.errors import InvalidInput, Unavailable


def is_loopback(host: str) -> bool:
    """Whether this machine alone can reach it; only then may the service run without access control."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name: it may be anybody's
        return False


def url_of(host: str, port: int) -> str:
    """Where the service answers on this machine: an address that stands for all has loopback among them."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return f"http://{host}:{port}"
    if address.is_unspecified:
        address = ipaddress.ip_address("127.0.0.1" if address.version == 4 else "::1")
    return f"http://[{address}]:{port}" if address.version == 6 else f"http://{address}:{port}"


def check(host: str, port: int) -> None:
    """Try whether the service can listen there.

    Raises:
        InvalidInput: `host` is no address of this machine.
        Unavailable: the port is taken, or not ours to take.
    """
    wrong = InvalidInput(
        f"--host {host} is no IP address of this machine; use 127.0.0.1 for this machine alone, 0.0.0.0 for all its "
        "networks"
    )
    try:
        family = socket.AF_INET if host == "localhost" or ipaddress.ip_address(host).version == 4 else socket.AF_INET6
    except ValueError:
        raise wrong from None
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1" if host == "localhost" else host, port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise wrong from error
            raise Unavailable(f"port {port} is taken; choose another with --port ({error.strerror})") from error


def check_alone(host: str, auth: bool) -> None:
    """That nobody else reaches a service without access control, on a Ray Serve that listens on `host`.

    Raises:
        Unavailable: others do.
    """
    if not auth and not is_loopback(host):
        raise Unavailable(
            f"Ray Serve runs on this cluster already and listens on {host}, where others can reach it. Use "
            "`toprung up --auth` to ask them for tokens, or end what runs there with `serve shutdown`."
        )
