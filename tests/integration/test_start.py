"""The service's start where Ray does not come up in time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.deep]

START = """
import os, sys, time
from pathlib import Path
from toprung.cluster import environment

os.environ.update(environment.own_cluster(Path(sys.argv[1])))
import psutil, ray
from ray._private import services
from toprung.cluster import embedded
from toprung.errors import Unavailable

found, too_late, clusters = services.get_node, int(sys.argv[2]), []

def get_node(cluster, node):  # made slow: a machine that is so busy can't be had when one wants it
    if cluster not in clusters:
        clusters.append(cluster)
    if clusters.index(cluster) < too_late:
        time.sleep(0.5)
        raise RuntimeError("not registered yet")
    return found(cluster, node)

services.get_node = get_node
try:
    embedded.start(namespace="test", num_cpus=1)
    print("started", ray.get(ray.remote(lambda: 42).remote()))
    ray.shutdown()
except Unavailable as error:
    print(error)
print(len(psutil.Process().children()), "left")
"""


@pytest.mark.parametrize(
    ("too_late", "says"), [(1, "started 42\n0 left"), (2, "Ray did not start within its 30 s, twice")]
)
def test_ray_that_takes_longer_than_it_gives_itself(tmp_path: Path, too_late: int, says: str) -> None:
    command = [sys.executable, "-c", START, str(tmp_path), str(too_late)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)

    assert done.returncode == 0, done.stderr[-3000:]
    assert says in done.stdout
    assert done.stdout.endswith("0 left\n"), "of what had started nothing stays behind"
