"""Checks a cluster file with Ray's own schema and rules, without an account and without touching the network.

`ray up` has no dry run: it validates after it has asked EC2 which resources each instance type has. A file whose node
types all state their `resources` needs no answer from EC2, and Ray's schema wants them stated. What stands under
`node_config` is EC2's to judge: nothing here looks inside.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ray.autoscaler
import yaml
from jsonschema import Draft7Validator, ValidationError  # type: ignore[import-untyped]
from ray.autoscaler._private.util import prepare_config, validate_config

from toprung.cluster.finding import Finding, error, pointer
from toprung.cluster.manifest import PRICE_LABEL, strings

_SCHEMA = Path(ray.autoscaler.__file__).with_name("ray-schema.json")
_PLACEHOLDER = re.compile(r"<[a-z][a-z-]*>")

_MAPPING = {"type": "object", "title": "mapping"}
_OPTIONS = {
    "items": {"type": "string", "title": "option", "description": "write it as text, in quotes: it is handed to docker"}
}
_OF_NODE_TYPES = {
    "labels": {
        "properties": {
            PRICE_LABEL: {
                "pattern": r"^\d+(\.\d+)?$",
                "title": "price",
                "description": 'US dollars an hour of one machine, as a number in quotes: "1.21"',
            }
        }
    },
    "node_config": {
        "properties": {
            "InstanceMarketOptions": {**_MAPPING, "description": "InstanceMarketOptions: {MarketType: spot}"},
            "scheduling": {**_MAPPING, "description": "scheduling: {provisioningModel: SPOT}"},
            "networkInterfaces": {
                "type": "array",
                "title": "list",
                "items": {**_MAPPING, "description": "networkInterfaces: [{subnetwork: projects/…/subnetworks/…}]"},
                "description": "networkInterfaces: [{subnetwork: projects/…/subnetworks/…}]",
            },
        }
    },
}
_MORE = Draft7Validator(
    {
        "properties": {
            "file_mounts": {
                "additionalProperties": {
                    "type": "string",
                    "title": "path",
                    "description": "the path on this machine of what is copied there, e.g. ~/data",
                }
            },
            "docker": {
                "properties": dict.fromkeys(("run_options", "head_run_options", "worker_run_options"), _OPTIONS)
            },
            "available_node_types": {"additionalProperties": {"properties": _OF_NODE_TYPES}},
        }
    }
)
"""What Ray's schema leaves open, and Toprung's rules and plans read: what should stand there, and how it is written."""

_NOT_OF_RAY_UP = (
    ("apiVersion", "this is a manifest of Kubernetes", "kubectl apply --dry-run=server -f FILE"),
    ("services", "this is a file of Docker Compose", "docker compose -f FILE config --quiet"),
)
"""By which key the other files of a cluster are known, and what checks them."""

_REFERENCE = "https://docs.ray.io/en/releases-2.60.0/cluster/vms/references/ray-cluster-configuration.html"


def read(path: Path) -> tuple[Any, list[Finding]]:
    """A file's content, and what keeps it from being read as YAML.

    Raises:
        OSError: the file can't be read.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8")), []
    except yaml.YAMLError as failure:
        mark = getattr(failure, "problem_mark", None)
        place = f"line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        return None, [error("yaml", place, getattr(failure, "problem", None) or "not YAML", "correct the YAML there")]
    except UnicodeDecodeError as failure:
        found = f"byte {failure.start + 1} is {failure.object[failure.start]:#04x}, which is not UTF-8"
        return None, [error("yaml", "", found, "save the file as UTF-8")]


def validate(config: Any) -> list[Finding]:
    """Everything that is wrong with a cluster file's content; nothing if `ray up` would accept it.

    A `<placeholder>` that has not been filled in is wrong too, with the code `placeholder`.
    """
    found = [*_schema_problems(config), *_placeholders(config)]
    if not any(finding.code == "schema" for finding in found):
        found += _rule_problems(config)
    return found


def _schema_problems(config: Any) -> Iterator[Finding]:
    if isinstance(config, dict) and "provider" not in config:
        for key, what, check in _NOT_OF_RAY_UP:
            if key in config:
                remedy = f"`{check}` checks it; docs/cluster.md says how it is used"
                yield error("schema", "", f"{what}, not a file for `ray up`", remedy)
                return
    schema = json.loads(_SCHEMA.read_text(encoding="utf-8"))
    for wrong in Draft7Validator(schema).iter_errors(config):
        if wrong.validator == "additionalProperties":
            yield from _unknown_fields(wrong)
        else:
            yield error("schema", pointer(wrong.absolute_path), wrong.message, f"see {_REFERENCE}")
    for wrong in _MORE.iter_errors(config):
        message = f"{json.dumps(wrong.instance)} is no {wrong.schema['title']}"
        yield error("schema", pointer(wrong.absolute_path), message, wrong.schema["description"])


def _unknown_fields(wrong: ValidationError) -> Iterator[Finding]:
    known = wrong.schema.get("properties", {})
    for name in wrong.instance:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            remedy = f"did you mean {close[0]}?" if close else f"take it out; fields: {', '.join(known)}"
            yield error("schema", pointer([*wrong.absolute_path, name]), "unknown field", remedy)


def _rule_problems(config: dict[str, Any]) -> Iterator[Finding]:
    """What Ray checks beyond the schema: it raises at the first, so this is at most one."""
    try:
        validate_config(prepare_config(config))
    except (AssertionError, KeyError, NotImplementedError, RuntimeError, ValueError) as failure:
        yield error("rule", "", str(failure), f"see {_REFERENCE}")


def _placeholders(config: Any) -> Iterator[Finding]:
    """One problem a placeholder, at the first place where it stands: YAML anchors repeat it."""
    seen: set[str] = set()
    for path, text in strings(config):
        for name in _PLACEHOLDER.findall(text):
            if name not in seen:
                seen.add(name)
                remedy = "the head of the file says what belongs there"
                yield error("placeholder", pointer(path), f"{name} is not filled in", remedy)
