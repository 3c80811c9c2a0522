"""The address that the service listens on."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from toprung.errors import InvalidInput, Unavailable

_BACKLOG = 1_024
"""Connections that wait to be taken; the kernel may allow fewer."""
_HANDOVER_S = 5.0
_PAUSE_S = 0.1


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
        family = _family(host)
    except ValueError:
        raise wrong from None
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_address(host), port))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise wrong from error
            raise Unavailable(f"port {port} is taken; choose another with --port ({error.strerror})") from error


class Door:
    """The socket that the service listens on, kept by its process and handed to each of its replicas.

    While one replica follows another, callers wait to be let in instead of finding nobody there, and nobody else can
    take the port.
    """

    def __init__(self, host: str, port: int) -> None:
        """Listens from now on.

        Raises:
            Unavailable: the port is taken by something else.
        """
        self._closed = False
        self._socket = _opened(host, port)
        self._folder = tempfile.TemporaryDirectory(prefix="toprung-")  # for its short path: a socket's is 107 bytes
        self.path = Path(self._folder.name) / "door"
        """What a replica needs to know; for this user alone."""
        self._handover = socket.socket(socket.AF_UNIX)
        self._handover.bind(str(self.path))
        self._handover.listen()
        threading.Thread(target=self._hand_over, name="door", daemon=True).start()

    def close(self) -> None:
        """Listen no more; who has been handed the socket still does. Again changes nothing."""
        self._closed = True
        with suppress(OSError):
            self._handover.shutdown(socket.SHUT_RDWR)
        self._handover.close()
        self._socket.close()
        self._folder.cleanup()

    def _hand_over(self) -> None:
        while not self._closed:
            try:
                replica, _ = self._handover.accept()
                with replica:
                    socket.send_fds(replica, [b"."], [self._socket.fileno()])
            except OSError:  # this door was closed, the replica has died meanwhile, or there are too many open files
                time.sleep(_PAUSE_S)


def through(door: Path, host: str, port: int) -> socket.socket:
    """The listening socket as a replica gets it.

    Raises:
        InvalidInput: `host` is none of this machine.
        Unavailable: the process that kept it has been killed, and the port was taken since; or it does not answer.
    """
    try:
        with socket.socket(socket.AF_UNIX) as keeper:
            keeper.settimeout(_HANDOVER_S)
            keeper.connect(str(door))
            _, handles, _, _ = socket.recv_fds(keeper, 1, 1)
    except (ConnectionRefusedError, FileNotFoundError):
        check(host, port)  # not beside somebody who listens there
        return _opened(host, port)
    except OSError as error:
        raise Unavailable(f"the service's process does not hand over its socket: {error}") from error
    if not handles:
        raise Unavailable("the service's process is about to end: it has handed over no socket")
    os.set_inheritable(handles[0], False)
    return socket.socket(fileno=handles[0])


def _opened(host: str, port: int) -> socket.socket:
    door = socket.socket(_family(host))
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    # where the service's process was killed, its replica on a joined cluster listens until the next one replaces it
    door.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        door.bind((_address(host), port))
        door.listen(_BACKLOG)
    except OSError as error:
        door.close()
        raise Unavailable(f"the service cannot listen on {url_of(host, port)}: {error.strerror}") from error
    return door


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET if ipaddress.ip_address(_address(host)).version == 4 else socket.AF_INET6


def _address(host: str) -> str:
    return "127.0.0.1" if host == "localhost" else host
