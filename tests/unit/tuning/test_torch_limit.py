"""Memory that really runs out: a process with a limit on what it may map trains as one without."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


def trained(network: str, spare_mb: int) -> tuple[dict[str, Any], str]:
    limit = ["--spare-mb", str(spare_mb)] if spare_mb else []
    command = [sys.executable, "-m", "toprung.examples.text.too_large", "--network", network, *limit]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to RLIMIT_AS")
@pytest.mark.parametrize(
    ("network", "spare_mb"), [pytest.param("transformer", 150, marks=pytest.mark.deep), ("lstm", 100)]
)
def test_a_training_that_runs_out_of_memory_learns_the_same(network: str, spare_mb: int) -> None:
    plain, _ = trained(network, 0)
    limited, said = trained(network, spare_mb)
    assert plain["part_size"] is None
    assert limited["part_size"] in (64, 128, 256, 512)
    assert limited["losses"] == pytest.approx(plain["losses"], abs=1e-6)
    assert "out of memory with 1024 samples at once, when" in said
