"""Reading YAML 1.2 (and JSON, a subset of it) with the place of every value.

PyYAML speaks YAML 1.1: `1e-4` is a string there, `on` a bool, `1:30` the number 90. The scalars here follow the core
schema of YAML 1.2.2 (https://yaml.org/spec/1.2.2/#103-core-schema).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from toprung.errors import InvalidSpec, Malformed, Problem, TooLarge
from toprung.tuning.spec.parts import pointer

MAX_BYTES = 1024 * 1024
_MAX_NODES = 100_000
"""Nodes after aliases are followed: a few lines of aliases of aliases would otherwise fill the memory."""
_MAX_DEPTH = 50

_SCALARS: list[tuple[str, str, str]] = [
    ("null", r"~|null|Null|NULL|", "~nN"),
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
        "-+.0123456789",
    ),
]


class _Loader(yaml.SafeLoader):
    """Composes nodes with the scalars of YAML 1.2."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  the base class's table, emptied


for _kind, _pattern, _first in _SCALARS:
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", re.compile(f"^(?:{_pattern})$"), [*_first])
_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile("^$"), [""])
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile("^<<$"), ["<"])


@dataclass
class Document:
    """A document and where its parts are.

    Attributes:
        data: plain Python values.
        places: JSON Pointer -> (line, column), from 1, of the value's key where it has one.
        problems: duplicate keys and the like.
    """

    data: Any
    places: dict[str, tuple[int, int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


def read(text: str) -> Document:
    """Reads one document.

    Raises:
        TooLarge: the text is larger than 1 MiB.
        Malformed: it is neither YAML nor JSON, or several documents.
    """
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise TooLarge("the spec is larger than 1 MiB; large data belongs in a file that the trainable reads")
    if text.lstrip().startswith("{"):
        text = text.replace("\t", " ")  # JSON may be indented by tabs, YAML may not
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        raise _malformed(error) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise Malformed(f"the spec is neither YAML nor JSON: {error}") from error
    document = Document(None)
    if node is not None:
        document.data = _Builder(document).build(node, (), 0)
    return document


def _malformed(error: yaml.MarkedYAMLError) -> Malformed:
    mark = error.problem_mark or error.context_mark
    what = error.problem or "cannot be read"
    if "expected a single document" in (error.context or ""):
        what = "holds several documents; a spec is one"
    line, column = (mark.line + 1, mark.column + 1) if mark else (None, None)
    detail = f"the spec is neither YAML nor JSON: {what}" + (f" (line {line}, column {column})" if line else "")
    return Malformed(detail, problems=[Problem("", "malformed", what, line=line, column=column)])


class _Builder:
    """Makes plain values of nodes."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._count = 0

    def build(self, node: Node, path: tuple[str | int, ...], depth: int) -> Any:
        self._count += 1
        if self._count > _MAX_NODES or depth > _MAX_DEPTH:
            raise Malformed("the spec is nested too deeply or grows too large through its aliases")
        self._document.places.setdefault(pointer(*path), _place(node))
        match node:
            case MappingNode():
                return self._mapping(node, path, depth)
            case SequenceNode(value=items):
                return [self.build(item, (*path, i), depth + 1) for i, item in enumerate(items)]
            case ScalarNode():
                return self._scalar(node, path)
        raise AssertionError(node)

    def _mapping(self, node: MappingNode, path: tuple[str | int, ...], depth: int) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                for part in value_node.value if isinstance(value_node, SequenceNode) else [value_node]:
                    if isinstance(part, MappingNode):
                        merged = {**self._mapping(part, path, depth + 1), **merged}
                continue
            key = str(key_node.value) if isinstance(key_node, ScalarNode) else ""
            where = (*path, key)
            if not isinstance(key_node, ScalarNode):
                self._problem(where, "bad_name", "a key must be text", key_node)
            elif key in own:
                first = self._document.places[pointer(*where)][0]
                self._problem(where, "duplicate_key", f"{key} is there twice, first in line {first}", key_node)
                continue
            self._document.places[pointer(*where)] = _place(key_node)
            own[key] = self.build(value_node, where, depth + 1)
        return {**merged, **own}

    def _scalar(self, node: ScalarNode, path: tuple[str | int, ...]) -> Any:
        text = node.value
        match node.tag.removeprefix("tag:yaml.org,2002:"):
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int":
                return self._int(text, node, path)
            case "float":
                return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
            case "str" | "timestamp" | "merge":
                return text
        self._problem(path, "unknown_tag", f"the tag {node.tag} is not known here", node)
        return text

    def _int(self, text: str, node: ScalarNode, path: tuple[str | int, ...]) -> int:
        try:
            return int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)
        except ValueError:  # thousands of digits, or a tag that doesn't fit
            self._problem(path, "invalid_value", f"{text[:40]} is not a whole number that can be read", node)
            return 0

    def _problem(self, path: tuple[str | int, ...], code: str, message: str, node: Node) -> None:
        line, column = _place(node)
        self._document.problems.append(Problem(pointer(*path), code, message, line=line, column=column))


def _place(node: Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def not_a_mapping(data: Any) -> InvalidSpec:
    """The error for a document that is no mapping."""
    what = "empty" if data is None else f"a {type(data).__name__}"
    detail = f"a spec is a mapping of fields; this is {what}"
    return InvalidSpec(detail, problems=[Problem("", "not_a_mapping", detail, "see `toprung init` for a starter")])
