"""What a training file reads from its config and reports, found in its syntax tree: nothing of it is run."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

CONFIG_NAMES = ("config", "cfg", "hparams")
MAX_DEPTH = 8  # of names and calls followed to a dict: functions may call each other in a circle
MISSING = object()
"""No default and no comparison tells anything about a key's value."""


@dataclass
class Key:
    """One `config[...]` that the file reads; `path` has several parts where groups are nested."""

    path: tuple[str, ...]
    default: Any = MISSING
    choices: list[Any] = field(default_factory=list)
    """Constants that it is compared with."""


@dataclass
class Findings:
    trainables: list[str] = field(default_factory=list)
    """Functions and classes that report, in the file's order."""
    keys: dict[tuple[str, ...], Key] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=list)
    defined: set[str] = field(default_factory=set)
    """Names that the file has when it is imported, as far as its top level tells."""


def scan(source: str) -> Findings:
    """Raises:
    SyntaxError: it is no Python.
    """
    tree = ast.parse(source)
    names = {*CONFIG_NAMES, *_config_arguments(tree)}
    found = Findings(trainables=_trainables(tree), defined={name for node in tree.body for name in _defined(node)})
    for node in sorted(ast.walk(tree), key=lambda node: getattr(node, "lineno", 0)):
        _note_key(node, names, found.keys)
        _note_comparison(node, names, found.keys)
    groups = {path[:depth] for path in found.keys for depth in range(1, len(path))}
    found.keys = {path: key for path, key in found.keys.items() if path not in groups}
    found.metrics = list(dict.fromkeys(_metrics(tree)))
    return found


def _defined(node: ast.stmt) -> Iterator[str]:
    if isinstance(node, ast.FunctionDef | ast.ClassDef):
        yield node.name
    elif isinstance(node, ast.Import | ast.ImportFrom):
        yield from (alias.asname or alias.name for alias in node.names)
    else:
        yield from (name.id for name in ast.walk(node) if isinstance(name, ast.Name))


def _functions(tree: ast.AST) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]


def _config_arguments(tree: ast.Module) -> set[str]:
    """The first argument's name of each function that reports: Tune passes the config there."""
    functions = [function for function in _functions(tree) if function.args.args and _does_report(function)]
    return {function.args.args[0].arg for function in functions} - {"self"}


def _trainables(tree: ast.Module) -> list[str]:
    functions = [node.name for node in tree.body if isinstance(node, ast.FunctionDef) and _does_report(node)]
    classes = [
        node.name
        for node in tree.body
        if isinstance(node, ast.ClassDef) and {"setup", "step"} <= {function.name for function in _functions(node)}
    ]
    return functions + classes


def _reports(node: ast.AST) -> Iterator[ast.Call]:
    """Calls of `tune.report(…)`, `train.report(…)` or a bare `report(…)`."""
    for call in ast.walk(node):
        if isinstance(call, ast.Call):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", None)
            if name == "report":
                yield call


def _does_report(node: ast.AST) -> bool:
    return next(_reports(node), None) is not None


# -- keys -----------------------------------------------------------------------------------------------------------


def _note_key(node: ast.AST, names: set[str], keys: dict[tuple[str, ...], Key]) -> None:
    path = _path(node, names)
    if not path:
        return
    key = keys.setdefault(path, Key(path))
    if isinstance(node, ast.Call) and len(node.args) > 1 and isinstance(node.args[1], ast.Constant):
        key.default = node.args[1].value


def _path(node: ast.AST, names: set[str]) -> tuple[str, ...]:
    """`config["a"]["b"]` and `config.get("a")` as ("a", "b") and ("a",); () for anything else."""
    if isinstance(node, ast.Subscript):
        return _extended(node.value, node.slice, names)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "get" and node.args:
        return _extended(node.func.value, node.args[0], names)
    return ()


def _extended(owner: ast.AST, key: ast.AST, names: set[str]) -> tuple[str, ...]:
    if not (isinstance(key, ast.Constant) and isinstance(key.value, str)):
        return ()
    if _is_config(owner, names):
        return (key.value,)
    outer = _path(owner, names)
    return (*outer, key.value) if outer else ()


def _is_config(node: ast.AST, names: set[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in names
    return isinstance(node, ast.Attribute) and node.attr in CONFIG_NAMES


def _note_comparison(node: ast.AST, names: set[str], keys: dict[tuple[str, ...], Key]) -> None:
    if not isinstance(node, ast.Compare) or not (path := _path(node.left, names)):
        return
    key = keys.setdefault(path, Key(path))
    for operator, other in zip(node.ops, node.comparators, strict=True):
        if isinstance(operator, ast.Eq | ast.NotEq | ast.In | ast.NotIn):
            key.choices += [value for value in _constants(other) if value not in key.choices]


def _constants(node: ast.AST) -> list[Any]:
    if isinstance(node, ast.Constant):
        return [node.value] if isinstance(node.value, str) else []
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return [value for element in node.elts for value in _constants(element)]
    return []


# -- metrics --------------------------------------------------------------------------------------------------------


def _metrics(tree: ast.Module) -> Iterator[str]:
    functions = {function.name: function for function in _functions(tree)}
    for function in functions.values():
        for call in _reports(function):
            if call.args:
                yield from _dict_keys(call.args[0], function, functions)
            yield from (word.arg for word in call.keywords if word.arg and word.arg not in ("checkpoint", "metrics"))
            for word in call.keywords:
                if word.arg == "metrics":
                    yield from _dict_keys(word.value, function, functions)
    for node in tree.body:
        if isinstance(node, ast.ClassDef):
            for function in _functions(node):
                if function.name == "step":
                    yield from _returned_keys(function, functions)


def _dict_keys(
    node: ast.AST | None, within: ast.FunctionDef, functions: dict[str, ast.FunctionDef], depth: int = 0
) -> Iterator[str]:
    """Keys of a dict given literally, by a local name, or by a function of the file that returns one."""
    if depth > MAX_DEPTH:
        return
    if isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if key is None:  # **other
                yield from _dict_keys(value, within, functions, depth + 1)
            elif isinstance(key, ast.Constant) and isinstance(key.value, str):
                yield key.value
    elif isinstance(node, ast.Name):
        for assigned in ast.walk(within):
            if isinstance(assigned, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == node.id for target in assigned.targets
            ):
                yield from _dict_keys(assigned.value, within, functions, depth + 1)
    elif isinstance(node, ast.Call):
        called = functions.get(getattr(node.func, "id", ""))
        if called is not None:
            yield from _returned_keys(called, functions, depth + 1)


def _returned_keys(function: ast.FunctionDef, functions: dict[str, ast.FunctionDef], depth: int = 0) -> Iterator[str]:
    for node in ast.walk(function):
        if isinstance(node, ast.Return):
            yield from _dict_keys(node.value, function, functions, depth + 1)
