"""cluster.yaml against Ray's own validation; the EC2 that it meets is moto's, in this process."""

from __future__ import annotations

import copy
import functools
import json
import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import yaml
from botocore.client import BaseClient
from moto import mock_aws
from ray.autoscaler._private import commands
from ray.autoscaler._private.aws import node_provider
from ray.autoscaler._private.providers import _get_node_provider

from toprung.cluster.check import check
from toprung.cluster.validate import read, validate

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "cluster.yaml"
REGION = "us-west-2"
ACCOUNT = "123456789012"  # moto's
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


@functools.cache
def list_ec2_instances(region: str, aws_credentials: None = None) -> list[Config]:
    """As Ray's own, but of our types alone, and once: moto takes a minute of a busy machine to spell its catalogue."""
    kinds = {node_type["node_config"]["InstanceType"] for node_type in filled({})["available_node_types"].values()}
    found = boto3.client("ec2", region_name=region).describe_instance_types(InstanceTypes=sorted(kinds))
    types: list[Config] = found["InstanceTypes"]
    return types


Calls = list[tuple[str, Config]]


@pytest.fixture
def calls(account: Config, monkeypatch: pytest.MonkeyPatch) -> Calls:
    """What AWS is asked from now on: (action as a policy names it, parameters)."""
    asked: Calls = []
    ask = BaseClient._make_api_call

    def noted(client: BaseClient, operation: str, parameters: Config) -> Any:
        asked.append((f"{client.meta.service_model.service_name}:{operation}", copy.deepcopy(parameters)))
        return ask(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", noted)
    return asked


@pytest.fixture(scope="class")
def account() -> Iterator[Config]:
    """The file, filled in for an account of moto's: nothing leaves the machine."""
    with pytest.MonkeyPatch.context() as patch, mock_aws():
        patch.setattr(node_provider, "list_ec2_instances", list_ec2_instances)
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            patch.setenv(name, "testing")
        patch.setenv("AWS_DEFAULT_REGION", REGION)
        patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        patch.setenv("RAY_UP_enable_autoscaler_v2", "1")
        patch.delenv("AWS_PROFILE", raising=False)
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
                "ami": "ami-0123456789abcdef0",
                "account": ACCOUNT,
                "private-subnet-a": subnets[0]["Subnet"]["SubnetId"],
                "private-subnet-b": subnets[1]["Subnet"]["SubnetId"],
                "security-group": group,
                "bucket": "toprung-of-a-team",
            }
        )


def problems(config: Config, tmp_path: Path) -> dict[str, str]:
    """By Ray's own validation, read from a file as a user's is."""
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return {finding.place: f"{finding.message}; {finding.remedy}" for finding in validate(read(path)[0])}


class TestShippedFile:
    def test_only_its_placeholders_are_missing_and_each_is_explained(self) -> None:
        found = [finding for finding in check(FILE) if finding.code not in ("missing_file", "readable_secret")]

        names = {finding.message.split()[0] for finding in found}
        assert {finding.code for finding in found} == {"placeholder"}
        assert names == {
            "<ami>",
            "<account>",
            "<private-subnet-a>",
            "<private-subnet-b>",
            "<security-group>",
            "<bucket>",
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

        (finding,) = check(path)

        assert (finding.code, finding.place) == ("yaml", "line 2, column 2")

    @pytest.mark.parametrize("text", ["", "just words", "- a\n- list"])
    def test_what_is_not_a_mapping(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "cluster.yaml"
        path.write_text(text, encoding="utf-8")

        (finding,) = check(path)

        assert "is not of type 'object'" in finding.message


@pytest.mark.slow
class TestOnAws:
    """`ray up`'s whole way to EC2."""

    def test_what_is_stated_of_the_machines_is_what_ec2_knows(self, account: Config) -> None:
        unstated = copy.deepcopy(account)
        stated = {name: account["available_node_types"][name]["resources"] for name in WORKERS}
        for name in WORKERS:  # so that Ray looks them up
            unstated["available_node_types"][name]["resources"] = {}

        config = commands._bootstrap_config(unstated, no_config_cache=True)

        for name in WORKERS:
            looked_up = config["available_node_types"][name]["resources"]
            assert 0.99 * looked_up["memory"] < stated[name]["memory"] <= looked_up["memory"]
            assert stated[name] | {"memory": looked_up["memory"]} == looked_up

    def test_ray_up_starts_the_head_and_its_autoscaler_the_workers(
        self, account: Config, calls: Calls, tmp_path: Path
    ) -> None:
        """By the calls that EC2 gets; the shells of the machines alone are stand-ins."""
        config = commands._bootstrap_config(with_files(account, tmp_path), no_config_cache=True)
        shells = Shells()
        commands.get_or_create_head_node(
            config, "cluster.yaml", no_restart=False, restart_only=False, yes=True, override_cluster_name=None,
            _runner=shells,
        )  # fmt: skip
        (head,) = (parameters for action, parameters in calls if action == "ec2:RunInstances")
        calls.clear()
        workers = started_by_the_head(config, calls)

        machine = {
            "ImageId": "ami-0123456789abcdef0",
            "KeyName": "toprung",
            "SubnetId": account["available_node_types"]["head"]["node_config"]["SubnetIds"][0],
            "SecurityGroupIds": account["available_node_types"]["head"]["node_config"]["SecurityGroupIds"],
            "MetadataOptions": {"HttpTokens": "required", "HttpPutResponseHopLimit": 2},
            "MinCount": 1,
        }
        spot = {
            "InstanceMarketOptions": {
                "MarketType": "spot",
                "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
            }
        }
        assert without_tags(head) == machine | profile("head") | disk(100, kept=True) | {
            "InstanceType": "m6i.2xlarge",
            "MaxCount": 1,
        }
        worker = machine | profile("worker") | disk(200, kept=False) | {"MaxCount": 3}
        assert {name: without_tags(asked) for name, asked in workers.items()} == {
            "gpu1-spot": worker | spot | {"InstanceType": "g5.2xlarge"},
            "gpu1-on-demand": worker | {"InstanceType": "g5.2xlarge"},
            "gpu4-spot": worker | spot | {"InstanceType": "g5.12xlarge"},
            "gpu4-on-demand": worker | {"InstanceType": "g5.12xlarge"},
        }
        for name, asked in {"head": head, **workers}.items():
            kind = "head" if name == "head" else "worker"
            known = {"ray-cluster-name": "toprung", "ray-node-type": kind, "ray-user-node-type": name}
            assert tags(asked).items() >= (known | {"project": "toprung"}).items()
        run = next(command for command in shells.commands if "docker run" in command)
        assert "-v /var/lib/toprung:/var/lib/toprung" in run
        assert "-v /var/lib/ray-gcs:/var/lib/ray-gcs" in run
        assert re.search(r"toprung up -- ray start --head .*/home/ray/ray_bootstrap_config.yaml", shells.commands[-1])

    def test_the_policy_in_the_docs_allows_what_the_head_does_and_no_more(self, account: Config, calls: Calls) -> None:
        config = commands._bootstrap_config(copy.deepcopy(account), no_config_cache=True)
        calls.clear()
        started_by_the_head(config, calls)

        allowed = {action for statement in policy("toprung-head") for action in statement["Action"]}
        assert {action for action in allowed if action.startswith("ec2:")} == {action for action, _ in calls}

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


def profile(kind: str) -> Config:
    return {"IamInstanceProfile": {"Arn": f"arn:aws:iam::{ACCOUNT}:instance-profile/toprung-{kind}"}}


def disk(size_gb: int, *, kept: bool) -> Config:
    ebs = {"VolumeSize": size_gb, "VolumeType": "gp3", "Encrypted": True, "DeleteOnTermination": not kept}
    return {"BlockDeviceMappings": [{"DeviceName": "/dev/sda1", "Ebs": ebs}]}


def tags(asked: Config) -> dict[str, str]:
    (instance,) = asked["TagSpecifications"]
    assert instance["ResourceType"] == "instance"
    return {tag["Key"]: tag["Value"] for tag in instance["Tags"]}


def without_tags(asked: Config) -> Config:
    return {key: value for key, value in asked.items() if key != "TagSpecifications"}


def policy(name: str) -> list[Config]:
    """The statements of an IAM policy of docs/cluster.md."""
    text = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    (block,) = re.findall(rf"`{name}`[^\n]*\n+```json\n(.*?)```", text, re.DOTALL)
    statements: list[Config] = json.loads(block)["Statement"]
    return statements


def with_files(account: Config, folder: Path) -> Config:
    """The file with a key and a token that are on this machine."""
    for name in ("key.pem", "auth_token"):
        (folder / name).write_text("-")
        (folder / name).chmod(0o600)
    config = copy.deepcopy(account)
    config["auth"]["ssh_private_key"] = str(folder / "key.pem")
    config["file_mounts"] = {"/home/ray/.ray/auth_token": str(folder / "auth_token")}
    return config


class Shells:
    """In the place of ssh, rsync and the machines behind them, of which moto has none; answers as docker would."""

    def __init__(self) -> None:
        self.commands: list[str] = []

    def check_call(self, command: list[str], *_: object, **__: object) -> int:
        self.commands.append(" ".join(command))
        return 0

    def call(self, command: list[str], *_: object, **__: object) -> int:
        return self.check_call(command)

    def check_output(self, command: list[str], *_: object, **__: object) -> bytes:
        self.check_call(command)
        answers = {
            "command -v docker": b"/usr/bin/docker",
            "Config.Env": b'["HOME=/home/ray"]',
            "printenv HOME": b"/home/ray",
            "/proc/meminfo": b"MemAvailable: 16000000 kB",
        }
        return next((said for words, said in answers.items() if words in self.commands[-1]), b"")


def started_by_the_head(config: Config, calls: Calls) -> dict[str, Config]:
    """Three machines of each type by all that Ray's autoscaler calls; how they were asked for, by type."""
    provider = _get_node_provider(config["provider"], config["cluster_name"])
    for name in WORKERS:
        tags = {"ray-node-type": "worker", "ray-user-node-type": name, "ray-launch-config": "x"}
        provider.create_node(config["available_node_types"][name]["node_config"], tags, 3)
    nodes = provider.non_terminated_nodes({"ray-node-type": "worker"})
    for node in nodes:
        provider.set_node_tags(node, {"ray-node-status": "up-to-date"})
    provider.terminate_nodes(nodes)
    found = [parameters for action, parameters in calls if action == "ec2:RunInstances"]
    return dict(zip(WORKERS, found, strict=True))
