"""What a cluster can become, as its autoscaler's file or Kubernetes says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.kuberay.node_provider import KubernetesHttpApiClient

from toprung.cluster import growth as module
from toprung.cluster.growth import Growth, NodeType, growth, growth_of

CONFIG: dict[str, Any] = {
    "cluster_name": "test",
    "max_workers": 6,
    "provider": {"type": "external", "module": "none"},
    "auth": {},
    "head_node_type": "head",
    "available_node_types": {
        "head": {"resources": {"CPU": 2}, "node_config": {}},
        "gpu": {"resources": {"CPU": 4, "GPU": 1}, "node_config": {}, "max_workers": 4, "labels": {"a": "b"}},
        "fixed": {"resources": {"CPU": 4}, "node_config": {}, "min_workers": 2, "max_workers": 2},
    },
}


def test_a_cluster_file_says_what_can_come() -> None:
    found = growth_of(CONFIG)
    assert found == Growth((NodeType("gpu", {"CPU": 4.0, "GPU": 1.0}, {"a": "b"}, 4),), 6)
    still = {name: CONFIG["available_node_types"][name] for name in ("head", "fixed")}
    assert growth_of({**CONFIG, "available_node_types": still}) is None, "it has all that it will have"


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_known", {})


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """The file of a process that was started as Ray's autoscaler is, and that may be asked for as `GCS`."""
    path = tmp_path / "cluster.yaml"
    args = [f"--autoscaling-config={path}", f"--gcs-address={GCS}"]
    monitor = subprocess.Popen([sys.executable, "-c", "input()", *args], stdin=subprocess.PIPE)
    yield path
    monitor.communicate(b"\n")


GCS = "192.0.2.7:6379"


def test_the_file_of_the_autoscaler_is_read(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    file.write_text("available_node_types: [")
    assert [growth(GCS), growth(GCS)] == [None, None]
    assert caplog.text.count("can't be read") == 1, "nobody looks at all processes again and again"
    file.write_text(yaml.safe_dump(CONFIG))
    assert growth(GCS, max_age_s=0) == growth_of(CONFIG)
    assert growth("192.0.2.8:6379") is None, "another cluster's"

    file.write_text(yaml.safe_dump({**CONFIG, "max_workers": 9}))
    assert growth(GCS) == growth_of(CONFIG), "it is not read each time"
    found = growth(GCS, max_age_s=0)
    assert found is not None
    assert found.most == 9
    file.write_text("available_node_types: [")
    assert growth(GCS, max_age_s=0) == found, "what was known still holds"


def test_a_ray_cluster_on_kubernetes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Kubernetes' answer is made up here: there is none."""
    pod = {"spec": {"containers": [{"resources": {"limits": {"cpu": "7", "memory": "26Gi", "nvidia.com/gpu": 1}}}]}}
    head = {"rayStartParams": {"num-cpus": "0"}, "template": pod}
    workers = {"groupName": "gpu", "replicas": 0, "minReplicas": 0, "maxReplicas": 12, "rayStartParams": {}}
    labels = {"ray.io/market-type": "spot"}
    cluster: dict[str, Any] = {
        "metadata": {"name": "tune", "namespace": "ml"},
        "spec": {
            "enableInTreeAutoscaling": True,
            "headGroupSpec": head,
            "workerGroupSpecs": [{**workers, "labels": labels, "template": pod}],
        },
    }
    asked: list[str] = []

    def get(self: Any, path: str) -> dict[str, Any]:
        asked.append(path)
        return cluster

    monkeypatch.setattr(KubernetesHttpApiClient, "get", get)
    monkeypatch.setattr(module, "_NAMESPACE", tmp_path / "namespace")
    monkeypatch.setenv("RAY_CLUSTER_NAME", "tune")
    assert growth(GCS, 0) is None, "no pod"
    (tmp_path / "namespace").write_text("ml\n")
    found = growth(GCS, 0)
    assert found is not None
    (gpu,) = found.types
    assert (gpu.name, gpu.has["CPU"], gpu.has["GPU"], gpu.labels, gpu.most) == ("gpu", 7, 1, labels, 12)
    assert found.most >= 12
    assert asked == ["rayclusters/tune"]
    cluster["spec"]["enableInTreeAutoscaling"] = False
    assert growth(GCS, 0) is None
