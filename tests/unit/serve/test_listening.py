"""Where the service listens, and what that asks for."""

from __future__ import annotations

import socket

import pytest

from toprung.errors import InvalidInput, Unavailable
from toprung.serve import listening


@pytest.mark.parametrize(
    ("host", "alone", "url"),
    [
        ("127.0.0.1", True, "http://127.0.0.1:8000"),
        ("127.0.0.2", True, "http://127.0.0.2:8000"),
        ("localhost", True, "http://localhost:8000"),
        ("::1", True, "http://[::1]:8000"),
        ("0.0.0.0", False, "http://127.0.0.1:8000"),
        ("::", False, "http://[::1]:8000"),
        ("192.168.1.5", False, "http://192.168.1.5:8000"),
        ("head.example", False, "http://head.example:8000"),
    ],
)
def test_who_reaches_it_and_where_it_is_from_here(host: str, alone: bool, url: str) -> None:
    assert (listening.is_loopback(host), listening.url_of(host, 8000)) == (alone, url)


@pytest.mark.parametrize("host", ["192.0.2.1", "head.example"])  # RFC 5737: nobody's
def test_an_address_of_another_machine(host: str) -> None:
    with pytest.raises(InvalidInput, match=f"--host {host} is no IP address of this machine; use"):
        listening.check(host, 8000)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_port_that_is_taken(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"port {port} is taken; choose another with --port"):
            listening.check(host, port)
    listening.check(host, port)


def test_callers_wait_at_the_door_from_one_replica_to_the_next() -> None:
    door = listening.Door("localhost", 0)
    try:
        first = listening.through(door.path, "unused", 1)
        address = first.getsockname()
        with pytest.raises(Unavailable, match=f"port {address[1]} is taken"):
            listening.check(*address)
        with pytest.raises(Unavailable, match="is taken"):  # the door is there, its place in the file system is not
            listening.through(door.path.with_name("swept"), *address)
        first.close()
        with socket.create_connection(address) as caller:
            with listening.through(door.path, "unused", 1) as second:
                callee, who = second.accept()
                callee.close()
            assert who == caller.getsockname()
    finally:
        door.close()
        door.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    with listening.through(door.path, *address) as alone:  # nobody keeps a door any more
        assert alone.getsockname() == address


def test_a_door_where_something_else_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(Unavailable, match=f"cannot listen on http://127.0.0.1:{port}: "):
            listening.Door("127.0.0.1", port)
