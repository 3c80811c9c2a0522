"""Memory that really runs out: a process with a limit on what it may map trains as one without."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

TRAINING = """
import json, logging, resource, sys
import psutil, torch
from toprung.examples.text.train import Sums

logging.basicConfig(level=logging.WARNING)
torch.set_num_threads(1)
torch.manual_seed(0)
network, spare_mb = sys.argv[1], int(sys.argv[2])
sums = Sums({"network": network, "width": 64, "layers": 2, "lr": 3e-3, "batch_size": 1024})
sums.steps_per_result = 1
if spare_mb:
    has = psutil.Process().memory_info().vms
    resource.setrlimit(resource.RLIMIT_AS, (has + spare_mb * 2**20, resource.RLIM_INFINITY))
losses = [sums.step()["train_loss"] for _ in range(3)]
print(json.dumps({"losses": losses, "part_size": sums.state_dict()["part_size"]}))
"""


def trained(network: str, spare_mb: int) -> tuple[dict[str, Any], str]:
    command = [sys.executable, "-c", TRAINING, network, str(spare_mb)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux holds a process to RLIMIT_AS")
@pytest.mark.parametrize(("network", "spare_mb"), [("transformer", 150), ("lstm", 100)])
def test_a_training_that_runs_out_of_memory_learns_the_same(network: str, spare_mb: int) -> None:
    plain, _ = trained(network, 0)
    limited, said = trained(network, spare_mb)
    assert plain["part_size"] is None
    assert limited["part_size"] in (64, 128, 256, 512)
    assert limited["losses"] == pytest.approx(plain["losses"], abs=1e-6)
    assert "out of memory with 1024 samples at once, when" in said
