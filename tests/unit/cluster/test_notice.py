"""The cloud's word that a machine goes, told by a stand-in for its metadata service: there is no cloud here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from toprung.cluster.notice import Notice, watch
from toprung.errors import Unavailable


class Cloud(ThreadingHTTPServer):
    """Both clouds' services at once; each asks for its own header."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.aws = self.gcp = False
        self.notice = ""
        """Of AWS."""
        self.preempted = "FALSE"
        self.tokens = 0
        self.asked = 0
        self.then: Callable[[int], None] = lambda asked: None
        """Called with each question, and how many there were."""


class _Handler(BaseHTTPRequestHandler):
    server: Cloud

    def do_PUT(self) -> None:
        self._count()
        if not self.server.aws or self.path != "/latest/api/token":
            return self._say(404)
        assert self.headers["X-aws-ec2-metadata-token-ttl-seconds"]
        self.server.tokens += 1
        return self._say(200, f"token-{self.server.tokens}")

    def do_GET(self) -> None:
        self._count()
        if self.server.gcp and self.path.startswith("/computeMetadata/v1/"):
            assert self.headers["Metadata-Flavor"] == "Google"
            return self._say(200, self.server.preempted)
        if not self.server.aws or not self.path.endswith("/spot/instance-action"):
            return self._say(404)
        if self.headers["X-aws-ec2-metadata-token"] != f"token-{self.server.tokens}":
            return self._say(401)
        return self._say(200, self.server.notice) if self.server.notice else self._say(404)

    def _count(self) -> None:
        self.server.asked += 1
        self.server.then(self.server.asked)

    def _say(self, status: int, text: str = "") -> None:
        self.send_response(status)
        if self.server.gcp:
            self.send_header("Metadata-Flavor", "Google")
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a test's output is for what fails."""


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    server = Cloud()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    host = f"127.0.0.1:{server.server_port}"
    monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", f"http://{host}/")
    monkeypatch.setenv("GCE_METADATA_HOST", host)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_aws_says_when(cloud: Cloud) -> None:
    cloud.aws = True
    at = datetime.now(UTC) + timedelta(seconds=120)
    drained: list[Notice] = []

    def drain(notice: Notice) -> int:
        drained.append(notice)
        return len(drained) - 1  # Ray is not up the first time

    def later(asked: int) -> None:
        if asked == 4:
            cloud.tokens += 1  # the one that is known has expired
            cloud.notice = f'{{"action": "terminate", "time": "{at:%Y-%m-%dT%H:%M:%SZ}"}}'

    cloud.then = later
    notice = watch(drain, every_s=0.01)
    assert cloud.tokens == 3
    assert notice.words == "EC2 will terminate the spot instance"
    assert 110 < notice.left_s <= 120
    assert len(drained) == 2


def test_an_answer_that_cannot_be_read_ends_nothing(cloud: Cloud) -> None:
    cloud.aws = True
    cloud.notice = '{"action": '

    def later(asked: int) -> None:
        if asked == 4:
            cloud.notice = f'{{"action": "stop", "time": "{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}}'

    cloud.then = later
    notice = watch(lambda _: 1, every_s=0.01)
    assert notice.words == "EC2 will stop the spot instance"


def test_gcp_says_it_with_thirty_seconds_left(cloud: Cloud) -> None:
    cloud.gcp = True
    cloud.preempted = "TRUE"
    assert watch(lambda notice: 1, every_s=0.01) == Notice("Compute Engine has preempted the instance", 30.0)


def test_a_machine_that_is_starting_may_not_reach_it_at_once(cloud: Cloud) -> None:
    def later(asked: int) -> None:
        cloud.gcp = asked > 4

    cloud.then = later
    cloud.preempted = "TRUE"
    assert watch(lambda notice: 1, every_s=0.01).left_s == 30.0


def test_elsewhere_there_is_nothing_to_wait_for(cloud: Cloud) -> None:
    with pytest.raises(Unavailable, match="no machine of AWS or GCP"):
        watch(lambda notice: 1, patience_s=0)
