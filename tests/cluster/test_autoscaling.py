"""A cluster that has no worker but an autoscaler: workers come for a sweep, no more than it can use, and go.

The machines are Ray's own fake ones, raylets with GPUs by word alone: there is no cloud here. The rest is real: Ray's
autoscaler, the service, the trials. All of it runs in a process namespace, as `ray stop` ends what it can see.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

import toprung
from tests.cluster.hosts import Host, Lab, lab_of, why_not
from tests.integration.conftest import until

pytestmark = [pytest.mark.deep, pytest.mark.skipif(why_not() is not None, reason=f"{why_not()}")]

logger = logging.getLogger(__name__)

IDLE_S = 12
WAIT_S = 400.0
"""A worker here is six processes; on a machine that does other things, too, each takes a minute."""
CONFIG = {
    "cluster_name": "fake",
    "max_workers": 5,
    # Ray 2.60's wheel lacks the file that its provider `fake_multinode` wants: it comes as an external one
    "provider": {
        "type": "external",
        "module": "provider.Provider",
        "use_node_id_as_ip": True,
        "disable_node_updaters": True,
        "disable_launch_config_check": True,
        "launch_multiple": True,
        "head_node_id": FAKE_HEAD_NODE_ID,
    },
    "head_node_type": "ray.head.default",  # the name that this provider knows it by
    "available_node_types": {
        "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
        "gpu": {
            "resources": {"CPU": 2, "GPU": 1, "object_store_memory": 80 * 2**20},
            "labels": {"ray.io/market-type": "spot"},
            "node_config": {},
            "min_workers": 0,
            "max_workers": 4,
        },
        "cpu": {
            "resources": {"CPU": 2, "object_store_memory": 80 * 2**20},
            "node_config": {},
            "min_workers": 0,
            "max_workers": 4,
        },
    },
    "upscaling_speed": 1.0,
    "idle_timeout_minutes": IDLE_S / 60,
    "auth": {},
    "docker": {},
    **{
        name: []
        for name in (
            "initialization_commands",
            "setup_commands",
            "head_setup_commands",
            "worker_setup_commands",
            "head_start_ray_commands",
            "worker_start_ray_commands",
            "cluster_synced_files",
            "rsync_exclude",
            "rsync_filter",
        )
    },
    "file_mounts": {},
    "file_mounts_sync_continuously": False,
}
ENV = {
    "RAY_FAKE_CLUSTER": "1",
    "RAY_AUTH_MODE": "disabled",
    "RAY_enable_autoscaler_v2": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
    "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID,
    "PYTHONPATH": str(Path(toprung.__file__).parents[1]),
}
CLIENT = {name: ENV[name] for name in ("RAY_AUTH_MODE", "PYTHONPATH")}
PROVIDER = """\
import functools, tempfile
import ray
from ray.autoscaler._private.fake_multi_node.node_provider import FakeMultiNodeProvider

class Provider(FakeMultiNodeProvider):
    # as machines have: two nodes with one folder would unpack the same packages into it, each in the other's way
    def _create_node_with_resources_and_labels(self, *args):
        parameters, given = ray._private.parameter, ray._private.parameter.RayParams
        parameters.RayParams = functools.partial(given, temp_dir=tempfile.mkdtemp(prefix="n"))
        try:
            super()._create_node_with_resources_and_labels(*args)
        finally:
            parameters.RayParams = given
"""
COUNT = """\
import json, sys, time
from ray._raylet import GcsClient
client, last = GcsClient(sys.argv[1]), None
while True:
    nodes = [node for node in client.get_all_node_info().values() if node.state == 0]
    workers = len([node for node in nodes if "node:__internal_head__" not in node.resources_total])
    if workers != last:
        print(json.dumps([time.time(), workers]), flush=True)
        last = workers
    time.sleep(0.1)
"""
TRAIN = """\
import pathlib, time
from ray import tune

def train(config):
    folder, step = pathlib.Path(config["folder"]), 0
    (folder / f"began-{config['x']}").touch()
    while not (folder / "gate").exists():
        step += 1
        tune.report({"loss": config["x"] / step})
        time.sleep(0.5)
    tune.report({"loss": config["x"]})
"""
SPEC = """\
name: grows
trainable: train:train
code: .
metric: {name: loss, goal: minimize}
parameters: {x: {type: float, low: 0, high: 1}, folder: FOLDER}
search: {algorithm: random, seed: 1}
budget: {trials: 5}
concurrency: 3
resources: {cpu: 1, gpu: 1, labels: {ray.io/market-type: spot}}
failures: {max_retries: 0}
tracking: {tensorboard: false}
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    with lab_of("tra", "10.213.9", head=11) as made:
        yield made


def toprung_says(head: Host, command: str) -> Any:
    return json.loads(head.ok(f"~/toprung-env/bin/toprung {command} --json", timeout_s=WAIT_S, env=CLIENT))


def counts(file: Path) -> list[tuple[float, int]]:
    """When there were how many workers."""
    return [tuple(json.loads(line)) for line in file.read_text().splitlines()]


def test_workers_come_for_a_sweep_and_go(lab: Lab) -> None:
    head, folder, seen = lab["head"], lab.folder / "shared", lab.folder / "workers"
    folder.mkdir()
    (head.home / "fake.json").write_text(json.dumps(CONFIG))
    (head.home / "count.py").write_text(COUNT)
    (head.home / "provider.py").write_text(PROVIDER)
    path = "export PATH=~/toprung-env/bin:$PATH; cd;"
    start = "ray start --head --num-cpus=0 --num-gpus=0 --autoscaling-config=fake.json --include-dashboard=false"
    head.ok(f"{path} PYTHONPATH=$PYTHONPATH:$HOME {start}", timeout_s=WAIT_S, env=ENV)
    head.ok(f"{path} nohup python count.py {head.address}:6379 >{seen} 2>{seen}.err </dev/null &", env=CLIENT)
    head.ok(f"{path} toprung up --address {head.address}:6379", timeout_s=WAIT_S, env=CLIENT)
    job = head.home / "job"
    job.mkdir()
    (job / "sweep.yaml").write_text(SPEC.replace("FOLDER", str(folder)))
    (job / "train.py").write_text(TRAIN)
    forecast = toprung_says(head, "validate ~/job/sweep.yaml")
    assert forecast["slots"] == 4, "as many as there may be"
    assert counts(seen)[-1][1] == 0

    submitted = time.time()
    toprung_says(head, "submit ~/job/sweep.yaml")
    until(lambda: len(list(folder.glob("began-*"))) == 3, timeout_s=WAIT_S, what="three trials that run")
    running = time.time()
    assert max(workers for _, workers in counts(seen)) == 3, "no more than the sweep can use"

    (folder / "gate").touch()
    head.ok("~/toprung-env/bin/toprung watch grows", timeout_s=WAIT_S, env=CLIENT)
    ended = time.time()
    until(lambda: counts(seen)[-1][1] == 0, timeout_s=IDLE_S + WAIT_S, what="the end of idle workers")
    assert max(workers for _, workers in counts(seen)) == 3
    trials = toprung_says(head, "trials grows")["items"]
    assert {(trial["state"], trial["attempt"], trial["num_failures"]) for trial in trials} == {("completed", 1, 0)}
    came = [at - submitted for at, workers in counts(seen) if workers and at < running]
    logger.info(
        "workers came after %s s, three trials ran after %.1f s; all workers were gone %.1f s after the sweep's end",
        ", ".join(f"{s:.1f}" for s in came),
        running - submitted,
        counts(seen)[-1][0] - ended,
    )
