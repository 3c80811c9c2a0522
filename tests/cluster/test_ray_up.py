"""`ray up` with cluster/on-prem.yaml, over SSH, between machines in namespaces."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.hosts import Host, Lab, lab_of, why_not
from tests.integration.conftest import until

pytestmark = [pytest.mark.deep, pytest.mark.skipif(why_not() is not None, reason=f"{why_not()}")]

FILE = Path(__file__).resolve().parents[2] / "cluster" / "on-prem.yaml"
TOKEN = {"RAY_AUTH_MODE": "token"}

SPEC = """\
name: everywhere
trainable: train:train
code: .
metric: {name: loss, goal: minimize}
parameters: {x: {type: float, low: 0, high: 1}, gate: GATE}
search: {algorithm: random, seed: 1}
budget: {trials: 6}
tracking: {tensorboard: false}
"""
TRAIN = """\
import pathlib, socket, tempfile, time
from ray import tune

def train(config):
    checkpoint = tune.get_checkpoint()
    step = 0
    if checkpoint:
        with checkpoint.as_directory() as folder:
            step = int(pathlib.Path(folder, "step").read_text())
    print("on", socket.gethostname(), "from", step, flush=True)
    while not pathlib.Path(config["gate"]).exists():
        step += 1
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder, "step").write_text(str(step))
            tune.report({"loss": config["x"] / step}, checkpoint=tune.Checkpoint.from_directory(folder))
        time.sleep(0.5)
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with lab_of("tru", op=10, head=11, w1=21, w2=22) as made:
        (made.folder / "runs").mkdir()
        yield made


def cluster_file(lab: Lab) -> Path:
    """The shipped file, filled in as its head says, on the operator's machine."""
    values = {
        "head-ip": lab["head"].address,
        "worker-ip": f"{lab['w1'].address}, {lab['w2'].address}",
        "user": "root",
        "shared-folder": str(lab.folder / "runs"),
    }
    text = FILE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    path = lab["op"].home / "on-prem.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def toprung(lab: Lab, command: str) -> Any:
    """What a command of Toprung's says on the head, parsed."""
    return json.loads(lab["head"].ok(f"~/toprung-env/bin/toprung {command} --json"))


def test_ray_up_brings_up_the_service_and_a_sweep_runs_on_all_machines(lab: Lab) -> None:
    operator, head = lab["op"], lab["head"]
    cluster_file(lab)
    path = "export PATH=~/toprung-env/bin:$PATH;"
    operator.ok(f"{path} ray get-auth-token --generate && chmod 600 ~/.ray/auth_token")
    assert "on-prem.yaml: nothing wrong" in operator.ok(f"{path} cd; toprung cluster check on-prem.yaml")

    operator.ok(f"{path} cd; ray up -y --no-config-cache on-prem.yaml", timeout_s=300, env=TOKEN)

    gate = lab.folder / "gate"
    job = head.home / "job"
    job.mkdir()
    (job / "sweep.yaml").write_text(SPEC.replace("GATE", str(gate)))
    (job / "train.py").write_text(TRAIN)
    toprung(lab, "submit ~/job/sweep.yaml")
    assert of_ray(head), "it is seen while it is there"
    until(lambda: ran_on(lab) >= {"w1", "w2"}, timeout_s=180, what="trials on both workers")
    gate.touch()
    until(lambda: state_of(lab) == "succeeded", timeout_s=120, what="the sweep's end")

    operator.ok(f"{path} cd; ray exec on-prem.yaml 'toprung down' && ray down -y on-prem.yaml", env=TOKEN)
    until(lambda: not of_ray(head), timeout_s=60, what="the end of all on the head")


def of_ray(host: Host) -> list[str]:
    """The commands of Ray's processes there, and of the service's."""
    return [
        line for line in host.ok("ps -eo args").splitlines() if re.search(r"raylet|gcs_server|toprung\.serve", line)
    ]


def state_of(lab: Lab) -> str:
    return str(toprung(lab, "show everywhere")["sweep"]["state"])


def ran_on(lab: Lab) -> set[str]:
    """The machines that trials have said they run on."""
    trials = toprung(lab, "trials everywhere")["items"]
    said = [lab["head"].run(f"~/toprung-env/bin/toprung logs everywhere {trial['number']}").stdout for trial in trials]
    return {log.split()[1] for log in said if log}
