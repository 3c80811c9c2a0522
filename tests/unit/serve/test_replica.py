"""The HTTP replica as Ray Serve handles it: made, asked how it is, deleted."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import httpx
import pytest
from tests.integration.conftest import free_port

from toprung.errors import Unavailable
from toprung.serve.replica import Replica


def test_it_answers_from_the_start_until_it_is_deleted(tmp_path: Path) -> None:
    port = free_port()
    replica = Replica(tmp_path, tmp_path / "no-door", "127.0.0.1", port, auth=False)
    url = f"http://127.0.0.1:{port}"
    replica.check_health()
    with httpx.Client() as connection:
        assert connection.get(f"{url}/healthz").status_code == 200
        with connection.stream("GET", f"{url}/v1/events") as stream:  # an endless one
            pieces = stream.iter_raw()
            assert next(pieces).startswith(b"retry:")
            leaving = threading.Thread(target=replica.__del__)
            leaving.start()
            with pytest.raises(httpx.RemoteProtocolError):  # broken off: it is not taken for whole
                list(pieces)
            leaving.join()
    with pytest.raises(RuntimeError, match="has ended"):
        replica.check_health()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/healthz")


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(Unavailable, match="is taken"):
        Replica(tmp_path, tmp_path / "no-door", "127.0.0.1", taken.getsockname()[1], auth=False)
