"""cluster/kuberay and cluster/compose: what of them can be checked without a Kubernetes and a Docker."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "cluster" / "kuberay"
KUBERNETES = "1.33"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def documents(name: str) -> list[dict[str, Any]]:
    text = re.sub(r"<[a-z0-9-]+>", "filled", (FOLDER / name).read_text(encoding="utf-8"))
    return list(yaml.safe_load_all(text))


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    (cluster,) = documents("raycluster.yaml")
    found: dict[str, Any] = cluster["spec"]
    return found


def templates(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [spec["headGroupSpec"]["template"], *(group["template"] for group in spec["workerGroupSpecs"])]


@pytest.mark.parametrize("document", documents("storage.yaml"), ids=lambda document: document["kind"])
def test_storage_is_what_kubernetes_knows(document: dict[str, Any]) -> None:
    kubernetes_validate.validate(document, KUBERNETES, strict=True)


def test_pods_are_what_kubernetes_knows(spec: dict[str, Any]) -> None:
    for template in templates(spec):
        pod = {"apiVersion": "v1", "kind": "Pod", **template}
        pod.setdefault("metadata", {})
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_a_misspelt_field_would_be_seen(spec: dict[str, Any]) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {}, "spec": {**templates(spec)[0]["spec"], "volume": []}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


def test_the_head_keeps_the_store_and_all_pods_share_the_checkpoints(spec: dict[str, Any]) -> None:
    claims = {
        document["metadata"]["name"]: document["spec"]["accessModes"]
        for document in documents("storage.yaml")
        if document["kind"] == "PersistentVolumeClaim"
    }
    assert claims == {"toprung-home": ["ReadWriteOnce"], "toprung-runs": ["ReadWriteMany"]}
    mounted = [
        {
            mount["mountPath"]: volume["persistentVolumeClaim"]["claimName"]
            for mount in template["spec"]["containers"][0]["volumeMounts"]
            for volume in template["spec"]["volumes"]
            if volume["name"] == mount["name"] and "persistentVolumeClaim" in volume
        }
        for template in templates(spec)
    ]
    home = {"/var/lib/toprung": "toprung-home"}
    runs = {"/var/lib/toprung/runs": "toprung-runs"}
    assert mounted == [home | runs, runs]


def test_ray_asks_for_a_token_and_no_secret_stands_there(spec: dict[str, Any]) -> None:
    assert spec["authOptions"] == {"mode": "token"}
    assert spec["rayVersion"] == "2.60.0"
    for template in templates(spec):
        for container in template["spec"]["containers"]:
            assert not [one for one in container["env"] if re.search("KEY|TOKEN|PASSWORD", one["name"])]


def test_compose_has_the_image_of_this_version_open_to_this_machine_alone() -> None:
    compose = yaml.safe_load((ROOT / "cluster" / "compose" / "compose.yaml").read_text(encoding="utf-8"))
    dockerfile = (ROOT / "cluster" / "compose" / "Dockerfile").read_text(encoding="utf-8")
    service = compose["services"]["toprung"]

    assert service["image"] == f"toprung:{VERSION}"
    assert f"ARG TOPRUNG={VERSION}\n" in dockerfile
    assert service["ports"] == ["127.0.0.1:8000:8000"]
    assert [volume.split(":")[1] for volume in service["volumes"]] == ["/var/lib/toprung"]
    assert "toprung up --foreground --host 0.0.0.0 -- ray start --head" in dockerfile
