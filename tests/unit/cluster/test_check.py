"""Toprung's own rules for cluster files, the files on this machine, and what a demand would bring up."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from toprung.cluster.check import check
from toprung.cluster.manifest import PRICE_LABEL
from toprung.cluster.plan import plan
from toprung.errors import InvalidInput
from toprung.tuning.spec import Resources

FILE = Path(__file__).resolve().parents[3] / "cluster.yaml"

Config = dict[str, Any]


def filled_in(file: Path, folder: Path) -> Config:
    """A shipped file, filled in, with a key and a token on this machine."""
    for name in ("key.pem", "auth_token"):
        (folder / name).write_text("secret")
        (folder / name).chmod(0o600)
    filled: Config = yaml.safe_load(re.sub(r"<[a-z-]+>", "filled", file.read_text(encoding="utf-8")))
    filled["auth"]["ssh_private_key"] = str(folder / "key.pem")
    filled["file_mounts"] = {"/home/ray/.ray/auth_token": str(folder / "auth_token")}
    return filled


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return filled_in(FILE, tmp_path)


@pytest.fixture
def found(tmp_path: Path) -> Callable[[Config], set[tuple[str, str]]]:
    """(severity, code) of what is wrong with a file."""

    def of(config: Config) -> set[tuple[str, str]]:
        path = tmp_path / "cluster.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return {(finding.severity, finding.code) for finding in check(path)}

    return of


Found = Callable[[Config], set[tuple[str, str]]]


def test_the_shipped_file_keeps_the_rules(config: Config, found: Found) -> None:
    assert found(config) == set()


def without(text: str) -> Callable[[Config], None]:
    """Takes a word out of all commands and options."""

    def change(config: Config) -> None:
        def cleaned(node: Any) -> Any:
            if isinstance(node, dict):
                return {key: cleaned(value) for key, value in node.items()}
            if isinstance(node, list):
                return [cleaned(value) for value in node]
            return node.replace(text, "") if isinstance(node, str) else node

        config.update(cleaned(copy.deepcopy(config)))

    return change


def head_command(command: str) -> Callable[[Config], None]:
    return lambda config: config["head_start_ray_commands"].append(command)


def gpu1(config: Config) -> Config:
    node_type: Config = config["available_node_types"]["gpu1-spot"]
    return node_type


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c["docker"].update(image="rayproject/ray:2.59.0-py311-cu128"), ("error", "ray_version")),
        (lambda c: c["docker"].update(head_image="rayproject/ray:2.60.0-py312-cpu"), ("error", "python_version")),
        (lambda c: c["docker"].update(image="rayproject/ray:2.60.0-py311-cpu"), ("error", "image_without_cuda")),
        (lambda c: c.update(setup_commands=['pip install "toprung[server]"']), ("error", "toprung_version")),
        (lambda c: c.update(setup_commands=["pip install toprung==0.0.9"]), ("warning", "toprung_version")),
        (lambda c: c.update(setup_commands=[]), ("warning", "toprung_missing")),
        (lambda c: gpu1(c)["labels"].update({"ray.io/accelerator-type": "A10"}), ("error", "accelerator_type")),
        (lambda c: gpu1(c)["labels"].update({"ray.io/accelerator-type": "T4"}), ("error", "accelerator_type")),
        (lambda c: gpu1(c)["labels"].pop("ray.io/accelerator-type"), ("warning", "accelerator_type")),
        (lambda c: gpu1(c).update(resources={"CPU": 8, "GPU": 1}), ("warning", "accelerator_type")),
        (without("--env RAY_AUTH_MODE=token"), ("error", "auth_off")),
        (lambda c: c.update(file_mounts={}), ("error", "no_auth_token")),
        (head_command("ray start --head --dashboard-host 0.0.0.0"), ("error", "open_port")),
        (head_command("toprung up --host 0.0.0.0 -- ray start --head"), ("warning", "open_port")),
        (lambda c: c["docker"]["run_options"].append("-p 6379:6379"), ("warning", "open_port")),
        (lambda c: gpu1(c)["node_config"].pop("SecurityGroupIds"), ("error", "open_port")),
        (without("RAY_gcs_storage=rocksdb RAY_gcs_storage_path=/var/lib/ray-gcs"), ("warning", "head_restart")),
        (without("-v /var/lib/ray-gcs:/var/lib/ray-gcs"), ("error", "head_restart")),
        (without("--env RAY_grpc_client_keepalive_time_ms=10000"), ("warning", "slow_to_notice")),
        (without("s3://filled/runs"), ("error", "storage")),
        (lambda c: c["head_start_ray_commands"].append("toprung up"), ("warning", "head_restart")),
        (lambda c: gpu1(c)["labels"].update({"ray.io/market-type": "on-demand"}), ("error", "market_type")),
        (lambda c: c["provider"].pop("cache_stopped_nodes"), ("error", "spot_cannot_stop")),
        (lambda c: c["available_node_types"]["head"].update(resources={"CPU": 8}), ("warning", "trials_on_head")),
        (head_command("WANDB_API_KEY=0123456789abcdef true"), ("error", "secret")),
        (lambda c: c["auth"].update(ssh_private_key="/nowhere/key.pem"), ("error", "missing_file")),
        (lambda c: c["file_mounts"].update({"/data": "/nowhere/data"}), ("error", "missing_file")),
        (lambda c: Path(c["auth"]["ssh_private_key"]).chmod(0o644), ("error", "readable_secret")),
    ],
)
def test_what_breaks_a_rule_is_found_and_nothing_else(
    config: Config, found: Found, change: Callable[[Config], object], expected: tuple[str, str]
) -> None:
    change(config)

    assert found(config) == {expected}


def test_a_secret_named_is_none(config: Config, found: Found) -> None:
    head_command('WANDB_API_KEY="$WANDB_API_KEY" true')(config)

    assert found(config) == set()


TYPE = "/available_node_types/gpu1-spot"


@pytest.mark.parametrize(
    ("change", "place", "message"),
    [
        (
            lambda c: gpu1(c)["node_config"].update(InstanceMarketOptions="spot"),
            f"{TYPE}/node_config/InstanceMarketOptions",
            '"spot" is no mapping',
        ),
        (
            lambda c: gpu1(c)["node_config"].update(scheduling=["SPOT"]),
            f"{TYPE}/node_config/scheduling",
            '["SPOT"] is no mapping',
        ),
        (
            lambda c: gpu1(c)["node_config"].update(networkInterfaces=[None]),
            f"{TYPE}/node_config/networkInterfaces/0",
            "null is no mapping",
        ),
        (lambda c: c["file_mounts"].update({"/a": None}), "/file_mounts/~1a", "null is no path"),
        (lambda c: c["docker"]["run_options"].append(5), "/docker/run_options/6", "5 is no option"),
        (
            lambda c: gpu1(c)["labels"].update({PRICE_LABEL: "about-1.21"}),
            f"{TYPE}/labels/toprung~1usd-per-hour",
            '"about-1.21" is no price',
        ),
    ],
)
def test_what_has_no_such_form_is_said_with_its_place_and_a_remedy(
    config: Config, tmp_path: Path, change: Callable[[Config], object], place: str, message: str
) -> None:
    change(config)
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")

    (finding,) = check(path)

    assert (finding.severity, finding.place, finding.message) == ("error", place, message)
    assert finding.remedy


def test_a_file_in_another_encoding_is_said_to_be(tmp_path: Path) -> None:
    path = tmp_path / "cluster.yaml"
    path.write_bytes("cluster_name: größe".encode("latin-1"))

    (finding,) = check(path)

    assert (finding.message, finding.remedy) == ("byte 17 is 0xf6, which is not UTF-8", "save the file as UTF-8")


def test_all_at_once_errors_first(config: Config, tmp_path: Path) -> None:
    without("--env RAY_grpc_client_keepalive_time_ms=10000")(config)
    config["docker"]["image"] = "rayproject/ray:2.59.0-py311-cpu"
    config["cluster_name"] = "<name>"
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")

    findings = check(path)

    assert {f.code for f in findings} == {"placeholder", "ray_version", "image_without_cuda", "slow_to_notice"}
    assert [f.severity for f in findings] == sorted(f.severity for f in findings)
    assert all(finding.remedy for finding in findings)


@pytest.mark.parametrize(("file", "remedy"), [("kuberay/raycluster", "kubectl apply"), ("compose/compose", "compose")])
def test_files_that_are_not_for_ray_up(file: str, remedy: str) -> None:
    """One finding says so, not one for each of their fields."""
    findings = [f for f in check(FILE.parent / "cluster" / f"{file}.yaml") if f.code != "placeholder"]

    assert len(findings) == 1
    assert "not a file for `ray up`" in findings[0].message
    assert remedy in findings[0].remedy


@pytest.mark.parametrize(
    ("resources", "trials", "machines", "waiting"),
    [
        (Resources(cpu=4, gpu=1), 2, {"gpu1-spot": 2}, 0),
        (Resources(gpu=0.5), 3, {"gpu1-spot": 2}, 0),
        (Resources(gpu=4, accelerator_type="A10G"), 3, {"gpu4-spot": 3}, 0),
        (Resources(gpu=4), 8, {"gpu4-spot": 4, "gpu4-on-demand": 2}, 2),
        (Resources(gpu=1, memory_gb=20), 2, {"gpu1-spot": 2}, 0),
        (Resources(gpu=1, labels={"ray.io/market-type": "on-demand"}), 2, {"gpu1-on-demand": 2}, 0),
        (Resources(gpu=1, labels={"ray.io/market-type": "!spot"}), 1, {"gpu1-on-demand": 1}, 0),
        (Resources(gpu=1, labels={"ray.io/accelerator-type": "in(H100, A100)"}), 2, {}, 2),
        (Resources(gpu=16), 1, {}, 1),
        (Resources(gpu=1, accelerator_type="H100"), 2, {}, 2),
    ],
)
def test_a_demand_brings_up_machines(
    config: Config, resources: Resources, trials: int, machines: dict[str, int], waiting: int
) -> None:
    before = copy.deepcopy(config)
    found = plan(config, resources, trials)

    assert ({m.node_type: m.count for m in found.machines}, found.waiting) == (machines, waiting)
    assert config == before


def test_prices_stand_in_the_file(config: Config) -> None:
    types = config["available_node_types"]
    types["head"]["labels"] = {PRICE_LABEL: "0.25"}
    assert plan(config, Resources(gpu=1), 2).usd_per_hour is None, "one price is missing"
    types["gpu1-spot"]["labels"][PRICE_LABEL] = "0.5"

    assert plan(config, Resources(cpu=8, gpu=1), 2).usd_per_hour == pytest.approx(1.25)


def test_machines_that_are_there_are_not_provisioned() -> None:
    with pytest.raises(InvalidInput, match="provider: local"):
        plan({"provider": {"type": "local"}}, Resources(), 1)


ON_PREM = FILE.with_name("cluster") / "on-prem.yaml"


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("ln -sfn /mnt/shared ~/.toprung/runs", set()),
        ("sudo mount nfs:/runs ~/.toprung/runs", set()),
        ("echo 'storage: s3://checkpoints/runs' >> ~/.toprung/config.yaml", set()),
        ("echo 'storage: /mnt/shared/runs' >> ~/.toprung/config.yaml", set()),
        ("mkdir -p ~/.toprung/runs", {("warning", "storage")}),
    ],
)
def test_machines_that_are_there_share_a_folder(
    tmp_path: Path, found: Found, command: str, expected: set[tuple[str, str]]
) -> None:
    filled = filled_in(ON_PREM, tmp_path)
    assert found(filled) == set()
    *others, linked = filled["setup_commands"]
    assert "ln -sfn" in linked

    assert found(filled | {"setup_commands": [*others, command]}) == expected


def test_one_machine_alone_needs_none(tmp_path: Path, found: Found) -> None:
    filled = filled_in(ON_PREM, tmp_path)
    filled["setup_commands"].pop()
    filled["provider"]["worker_ips"] = []

    assert found(filled) == set()


GCP = FILE.with_name("cluster") / "gcp.yaml"


def without_memory(config: Config) -> None:
    gpu1(config)["resources"].pop("memory")


def spot_of_gcp(config: Config) -> Config:
    node_config: Config = config["available_node_types"]["gpu1-spot"]["node_config"]
    return node_config


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: None, set()),
        (lambda c: spot_of_gcp(c).pop("scheduling"), {("error", "market_type")}),
        (lambda c: c["provider"].pop("cache_stopped_nodes"), {("error", "spot_cannot_stop")}),
        (without_memory, {("warning", "no_memory")}),
        (lambda c: spot_of_gcp(c).pop("networkInterfaces"), {("warning", "open_port")}),
        (lambda c: spot_of_gcp(c).update(networkInterfaces=[{"accessConfigs": [{}]}]), {("warning", "open_port")}),
    ],
)
def test_rules_of_google_cloud(
    tmp_path: Path, found: Found, change: Callable[[Config], object], expected: set[tuple[str, str]]
) -> None:
    filled = filled_in(GCP, tmp_path)
    change(filled)

    assert found(filled) == expected


def test_a_demand_on_google_cloud(tmp_path: Path) -> None:
    found = plan(filled_in(GCP, tmp_path), Resources(cpu=4, gpu=1, memory_gb=20), 2)

    assert [(m.count, m.node_type, m.instance_type) for m in found.machines] == [(2, "gpu1-spot", "g2-standard-8")]
