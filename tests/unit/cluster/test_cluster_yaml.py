"""cluster.yaml against Ray's own validation; the EC2 that it meets is moto's, in this process."""

from __future__ import annotations

import copy
import functools
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from moto import mock_aws
from ray.autoscaler._private import commands
from ray.autoscaler._private.aws import node_provider
from ray.autoscaler._private.providers import _get_node_provider

from toprung.cluster.validate import main, validate

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "cluster.yaml"
REGION = "us-west-2"
WORKERS = ("gpu1-spot", "gpu1-on-demand", "gpu4-spot", "gpu4-on-demand")

Config = dict[str, Any]


def filled(values: dict[str, str]) -> Config:
    text = FILE.read_text(encoding="utf-8")
    for name, value in values.items():
        text = text.replace(f"<{name}>", value)
    config: Config = yaml.safe_load(text)
    return config


@pytest.fixture
def config() -> Config:
    names = set(re.findall(r"<([a-z-]+)>", FILE.read_text(encoding="utf-8")))
    return filled(dict.fromkeys(names, "filled"))


list_ec2_instances = functools.cache(node_provider.list_ec2_instances)
"""moto takes seconds to read its catalogue of instance types, and Ray asks each time: once is enough here."""


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Config]:
    """The file, filled in for an account of moto's: nothing leaves the machine."""
    monkeypatch.setattr(node_provider, "list_ec2_instances", list_ec2_instances)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    with mock_aws():
        ec2 = boto3.client("ec2")
        ec2.create_key_pair(KeyName="toprung")
        vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
        subnets = [
            ec2.create_subnet(VpcId=vpc, CidrBlock=f"10.9.{i}.0/24", AvailabilityZone=f"{REGION}{zone}")
            for i, zone in enumerate("ab")
        ]
        group = ec2.create_security_group(GroupName="toprung", Description="-", VpcId=vpc)["GroupId"]
        for name in ("toprung-head", "toprung-worker"):
            boto3.client("iam").create_instance_profile(InstanceProfileName=name)
        yield filled(
            {
                "ami": ec2.describe_images()["Images"][0]["ImageId"],
                "account": "123456789012",
                "private-subnet-a": subnets[0]["Subnet"]["SubnetId"],
                "private-subnet-b": subnets[1]["Subnet"]["SubnetId"],
                "security-group": group,
                "file-system": "fs-0123456789abcdef0",
            }
        )


def problems(config: Config, tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return {problem.pointer: f"{problem.message}; {problem.hint}" for problem in validate(path)}


class TestShippedFile:
    def test_only_its_placeholders_are_missing_and_each_is_explained(self) -> None:
        found = validate(FILE)

        names = {problem.message.split()[0] for problem in found}
        assert {problem.code for problem in found} == {"placeholder"}
        assert names == {
            "<ami>",
            "<account>",
            "<private-subnet-a>",
            "<private-subnet-b>",
            "<security-group>",
            "<file-system>",
        }
        head = FILE.read_text(encoding="utf-8").split("\ncluster_name:")[0]
        assert all(name in head for name in names)

    def test_filled_in_it_is_fine(self, config: Config, tmp_path: Path) -> None:
        assert problems(config, tmp_path) == {}

    def test_no_trial_lands_on_the_head_and_no_worker_waits_for_work(self, config: Config) -> None:
        types = config["available_node_types"]
        assert types["head"]["resources"] == {"CPU": 0}
        assert [types[name]["min_workers"] for name in WORKERS] == [0, 0, 0, 0]
        assert [types[name]["resources"]["GPU"] for name in WORKERS] == [1, 1, 4, 4]
        assert all(types[name]["idle_timeout_s"] for name in WORKERS)

    def test_spot_types_are_bought_on_the_spot_market_and_labelled_so(self, config: Config) -> None:
        for name in WORKERS:
            node_type = config["available_node_types"][name]
            market = node_type["node_config"].get("InstanceMarketOptions", {}).get("MarketType", "on-demand")
            assert name.endswith(market)
            assert node_type["labels"]["ray.io/market-type"] == market

    def test_installs_the_version_of_this_checkout_on_the_ray_of_its_images(self, config: Config) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        ray_pin = next(d for d in project["optional-dependencies"]["server"] if d.startswith("ray["))

        assert f'pip install -q "toprung[server]=={project["version"]}"' in config["setup_commands"]
        for image in (config["docker"]["image"], config["docker"]["head_image"]):
            release = image.split(":")[1].rsplit(".", 1)[0]
            assert ray_pin.endswith(f"=={release}.*")


class TestRefused:
    @pytest.mark.parametrize(
        ("change", "pointer", "words"),
        [
            (lambda c: c.update(idle_timeout_minute=5), "/idle_timeout_minute", "did you mean idle_timeout_minutes?"),
            (
                lambda c: c["available_node_types"]["gpu1-spot"].update(max_worker=3),
                "/available_node_types/gpu1-spot/max_worker",
                "did you mean max_workers?",
            ),
            (
                lambda c: c["available_node_types"]["gpu1-spot"]["resources"].update(GPU=0.5),
                "/available_node_types/gpu1-spot/resources/GPU",
                "0.5 is not of type 'integer'",
            ),
            (
                lambda c: c["available_node_types"]["gpu1-spot"].pop("resources"),
                "/available_node_types/gpu1-spot",
                "'resources' is a required property",
            ),
            (lambda c: c.update(head_node_type="haed"), "", "head_node_type"),
            (lambda c: c["available_node_types"]["gpu4-spot"].update(min_workers=99), "", "max_workers"),
            (lambda c: c["docker"].pop("container_name"), "", "container"),
            (lambda c: c.pop("provider"), "", "'provider' is a required property"),
        ],
    )
    def test_with_the_place_and_the_reason(
        self, config: Config, tmp_path: Path, change: Callable[[Config], object], pointer: str, words: str
    ) -> None:
        change(config)

        found = problems(config, tmp_path)

        assert list(found) == [pointer]
        assert words in found[pointer]

    def test_all_at_once(self, config: Config, tmp_path: Path) -> None:
        config["max_worker"] = 1
        config["available_node_types"]["gpu4-spot"]["resources"]["GPU"] = 1.5
        config["cluster_name"] = "<name>"

        assert set(problems(config, tmp_path)) == {
            "/max_worker",
            "/available_node_types/gpu4-spot/resources/GPU",
            "/cluster_name",
        }

    def test_what_is_not_yaml(self, tmp_path: Path) -> None:
        path = tmp_path / "cluster.yaml"
        path.write_text("a: [1\nb: 2\n", encoding="utf-8")

        (problem,) = validate(path)

        assert (problem.code, problem.line) == ("yaml", 2)

    @pytest.mark.parametrize("text", ["", "just words", "- a\n- list"])
    def test_what_is_not_a_mapping(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "cluster.yaml"
        path.write_text(text, encoding="utf-8")

        (problem,) = validate(path)

        assert "is not of type 'object'" in problem.message


class TestCommand:
    def test_prints_the_problems(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        monkeypatch.setattr("sys.argv", ["validate", str(FILE)])

        assert main() == 2
        assert "/initialization_commands/2: <file-system> is not filled in\n" in capsys.readouterr().out

    def test_says_that_a_file_is_fine(
        self, config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        monkeypatch.setattr("sys.argv", ["validate", str(path)])

        assert main() == 0
        assert capsys.readouterr().out == f"{path} is fine\n"

    def test_a_missing_file_is_one_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr("sys.argv", ["validate", str(tmp_path / "none.yaml")])

        assert main() == 2
        assert capsys.readouterr().err == f"{tmp_path / 'none.yaml'}: No such file or directory\n"


@pytest.mark.slow
class TestOnAws:
    """`ray up`'s whole way to EC2."""

    def test_bootstraps_and_each_type_launches(self, account: Config) -> None:
        stated = {name: dict(account["available_node_types"][name]["resources"]) for name in WORKERS}
        for name in WORKERS:  # so that Ray looks them up
            account["available_node_types"][name]["resources"] = {}

        config = commands._bootstrap_config(copy.deepcopy(account), no_config_cache=True)

        types = config["available_node_types"]
        for name in WORKERS:
            looked_up = types[name]["resources"]
            assert stated[name] == {key: looked_up[key] for key in looked_up if key != "memory"}
        assert launched(config) == {
            "head": ("m6i.2xlarge", "on-demand"),
            "gpu1-spot": ("g5.2xlarge", "spot"),
            "gpu1-on-demand": ("g5.2xlarge", "on-demand"),
            "gpu4-spot": ("g5.12xlarge", "spot"),
            "gpu4-on-demand": ("g5.12xlarge", "on-demand"),
        }

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda c: c.update(upscaling_sped=1.0), "upscaling_sped"),
            (lambda c: c["available_node_types"]["gpu1-spot"]["resources"].update(GPU=0.5), "0.5 is not of type"),
        ],
    )
    def test_ray_up_refuses(self, account: Config, change: Callable[[Config], object], words: str) -> None:
        broken = copy.deepcopy(account)
        change(broken)

        with pytest.raises(Exception, match=words):
            commands._bootstrap_config(broken, no_config_cache=True)


def launched(config: Config) -> dict[str, tuple[str, str]]:
    """Starts one machine of each type through Ray's node provider; what EC2 then has, by type."""
    provider = _get_node_provider(config["provider"], config["cluster_name"])
    for name, node_type in config["available_node_types"].items():
        kind = "head" if name == config["head_node_type"] else "worker"
        tags = {"ray-node-type": kind, "ray-user-node-type": name, "ray-node-name": name, "ray-launch-config": "x"}
        provider.create_node(node_type["node_config"], tags, 1)
    found = {}
    for reservation in boto3.client("ec2").describe_instances()["Reservations"]:
        for machine in reservation["Instances"]:
            name = next(tag["Value"] for tag in machine["Tags"] if tag["Key"] == "ray-user-node-type")
            found[name] = (machine["InstanceType"], machine.get("InstanceLifecycle", "on-demand"))
    return found
