"""Checks a cluster file with Ray's own schema and rules, without an account and without touching the network.

`ray up` has no dry run: it validates after it has asked EC2 which resources each instance type has. A file whose node
types all state their `resources` needs no answer from EC2, and Ray's schema wants them stated. What stands under
`node_config` is EC2's to judge: nothing here looks inside.

`python -m toprung.cluster.validate cluster.yaml` prints what is wrong and exits with 2 if anything is.
"""

from __future__ import annotations

import difflib
import json
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import ray.autoscaler
import yaml
from jsonschema import Draft7Validator, ValidationError  # type: ignore[import-untyped]
from ray.autoscaler._private.util import prepare_config, validate_config

from toprung.errors import Problem

_SCHEMA = Path(ray.autoscaler.__file__).with_name("ray-schema.json")
_PLACEHOLDER = re.compile(r"<[a-z][a-z-]*>")


def validate(path: Path) -> list[Problem]:
    """Everything that is wrong with a cluster file; nothing if `ray up` would accept it.

    A `<placeholder>` that has not been filled in is a problem too, with the code `placeholder`.

    Raises:
        OSError: the file can't be read.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        return [_yaml_problem(error)]
    problems = [*_schema_problems(config), *_placeholders(config)]
    if not any(problem.code == "schema" for problem in problems):
        problems += _rule_problems(config)
    return problems


def _yaml_problem(error: yaml.YAMLError) -> Problem:
    mark = getattr(error, "problem_mark", None)
    return Problem(
        pointer="",
        code="yaml",
        message=getattr(error, "problem", None) or "not YAML",
        line=mark and mark.line + 1,
        column=mark and mark.column + 1,
    )


def _schema_problems(config: Any) -> Iterator[Problem]:
    schema = json.loads(_SCHEMA.read_text(encoding="utf-8"))
    for error in Draft7Validator(schema).iter_errors(config):
        if error.validator == "additionalProperties":
            yield from _unknown_fields(error)
        else:
            yield Problem(pointer=_pointer(error.absolute_path), code="schema", message=error.message)


def _unknown_fields(error: ValidationError) -> Iterator[Problem]:
    known = error.schema.get("properties", {})
    for name in error.instance:
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1)
            yield Problem(
                pointer=_pointer([*error.absolute_path, name]),
                code="schema",
                message="unknown field",
                hint=f"did you mean {close[0]}?" if close else None,
            )


def _rule_problems(config: dict[str, Any]) -> Iterator[Problem]:
    """What Ray checks beyond the schema: it raises at the first, so this is at most one."""
    try:
        validate_config(prepare_config(config))
    except (AssertionError, KeyError, NotImplementedError, RuntimeError, ValueError) as error:
        yield Problem(pointer="", code="rule", message=str(error))


def _placeholders(config: Any) -> Iterator[Problem]:
    """One problem a placeholder, at the first place where it stands: YAML anchors repeat it."""
    seen: set[str] = set()
    for path, text in _strings(config):
        for name in _PLACEHOLDER.findall(text):
            if name not in seen:
                seen.add(name)
                yield Problem(pointer=_pointer(path), code="placeholder", message=f"{name} is not filled in")


def _strings(node: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(node, str):
        yield path, node
    elif isinstance(node, dict | list):
        for key, value in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _strings(value, (*path, key))


def _pointer(path: Iterable[str | int]) -> str:
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def main() -> int:
    """Prints each problem on a line of its own. Returns the exit code."""
    if len(sys.argv) != 2:
        sys.stderr.write("usage: python -m toprung.cluster.validate FILE\n")
        return 2
    path = Path(sys.argv[1])
    try:
        problems = validate(path)
    except OSError as error:
        sys.stderr.write(f"{path}: {error.strerror}\n")
        return 2
    for problem in problems:
        place = problem.pointer or (f"line {problem.line}" if problem.line else "the file")
        hint = f"; {problem.hint}" if problem.hint else ""
        sys.stdout.write(f"{place}: {problem.message}{hint}\n")
    if not problems:
        sys.stdout.write(f"{path} is fine\n")
    return 2 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
