"""From text or a mapping to a spec, with every problem at once; and back."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from toprung.errors import InvalidSpec, Problem
from toprung.tuning.spec.checks import cross_problems
from toprung.tuning.spec.models import AshaScheduler, Budget, MedianScheduler, NoScheduler, Search, SweepSpec
from toprung.tuning.spec.parameters import (
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    ParameterNode,
)
from toprung.tuning.spec.parts import Broken, Parts, did_you_mean, pointer
from toprung.tuning.spec.reading import Document, not_a_mapping, read

_DISTRIBUTIONS: dict[str, type[BaseModel]] = {
    "float": FloatParameter,
    "int": IntParameter,
    "categorical": CategoricalParameter,
}
_SCHEDULERS: dict[str, type[BaseModel]] = {"asha": AshaScheduler, "median": MedianScheduler, "none": NoScheduler}


def parse_spec(text: str) -> SweepSpec:
    """Reads a spec from YAML or JSON text.

    Raises:
        InvalidSpec: the spec has problems; all are listed, each with line and column.
        Malformed: the text is neither YAML nor JSON.
        TooLarge: the text is larger than 1 MiB.
    """
    document = read(text)
    if not isinstance(document.data, dict):
        raise not_a_mapping(document.data)
    spec, problems = _validate(document.data)
    problems = [*document.problems, *(_located(p, document) for p in problems)]
    if problems:
        raise _invalid(sorted(problems, key=lambda p: (p.line or 0, p.column or 0)))
    assert spec is not None
    return spec


def spec_from(data: Mapping[str, Any]) -> SweepSpec:
    """Makes a spec of a mapping.

    Raises:
        InvalidSpec: the spec has problems; all are listed.
    """
    if not isinstance(data, Mapping):
        raise not_a_mapping(data)
    spec, problems = _validate(dict(data))
    if problems:
        raise _invalid(problems)
    assert spec is not None
    return spec


def dump_spec(spec: SweepSpec) -> str:
    """YAML that `parse_spec` reads as an equal spec; fields at their defaults are left out."""
    return yaml.dump(_plain(spec), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a spec, for editors."""
    schema = SweepSpec.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "Toprung sweep"}


def _plain(spec: SweepSpec) -> dict[str, Any]:
    data = spec.model_dump(mode="json", exclude_defaults=True)
    if "scheduler" in data:
        data["scheduler"] = {"type": spec.scheduler.type, **data["scheduler"]}
    return data


class _Dumper(yaml.SafeDumper):
    """Writes what YAML 1.2 and 1.1 both read alike."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = repr(value).replace("inf", ".inf").replace("nan", ".nan")
    if "e" in text and "." not in text:  # 1e-05: PyYAML wants the point, and so do other YAML 1.1 readers
        text = text.replace("e", ".0e")
    return dumper.represent_scalar("tag:yaml.org,2002:float", text)


def _str(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    # quotes wherever YAML 1.2 or 1.1 could take the text for something else
    plain = value.replace("_", "").replace("-", "").replace(" ", "").isalpha() and value.lower() not in _WORDS
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')


_WORDS = {"true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan", "inf"}
_Dumper.add_representer(float, _float)
_Dumper.add_representer(str, _str)


# ---- problems


def _invalid(problems: list[Problem]) -> InvalidSpec:
    count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
    return InvalidSpec(f"the spec has {count}", problems=problems)


def _validate(data: dict[str, Any]) -> tuple[SweepSpec | None, list[Problem]]:
    try:
        return SweepSpec.model_validate(data), []
    except ValidationError as error:
        own = [_problem(details, data) for details in error.errors() if details["type"] != "inconsistent"]
    unique = list({(p.pointer, p.code): p for p in own}.values())
    return None, [*_without_echoes(unique), *cross_problems(_readable(data))]


def _without_echoes(problems: list[Problem]) -> list[Problem]:
    """A misspelt field is one mistake, though its right name is then missing."""
    meant = {f"{p.pointer.rpartition('/')[0]}: {p.hint}" for p in problems if p.code == "unknown_field"}

    def echo(missing: Problem) -> bool:
        parent, _, name = missing.pointer.rpartition("/")
        return missing.code == "missing_field" and f"{parent}: {did_you_mean(name, [name])}" in meant

    return [problem for problem in problems if not echo(problem)]


def _readable(data: dict[str, Any]) -> Parts:
    """What of a broken spec can be checked across fields."""
    search = _maybe(Search, data.get("search", {}))
    budget = _maybe(Budget, data.get("budget", {}))
    constraints = data.get("constraints", ())
    if not isinstance(constraints, list | tuple):
        constraints = ()
    return Parts(
        parameters=_readable_tree(data.get("parameters")),
        constraints=tuple(text for text in constraints if isinstance(text, str)),
        algorithm=search.algorithm if search else None,
        budget=None if budget is None else bool(budget.model_dump(exclude_none=True)),
        trials=None if budget is None else budget.trials,
        points=_readable_points(data.get("search")),
    )


def _readable_points(search: Any) -> tuple[Mapping[str, Any] | None, ...]:
    """Each at its index, whatever else of `search` is broken."""
    points = search.get("points", ()) if isinstance(search, Mapping) else ()
    if not isinstance(points, list | tuple):
        return ()
    return tuple(point if isinstance(point, Mapping) else None for point in points)


def _readable_tree(tree: Any) -> dict[str, Any]:
    if not isinstance(tree, Mapping):
        return {}
    readable: dict[str, Any] = {}
    for name, node in tree.items():
        if isinstance(node, Mapping) and "type" not in node:
            readable[str(name)] = _readable_tree(node)
            continue
        try:
            readable[str(name)] = _NODE.validate_python(node)
        except ValidationError:
            readable[str(name)] = Broken()
    return readable


M = TypeVar("M", bound=BaseModel)

_NODE: TypeAdapter[Any] = TypeAdapter(ParameterNode)


def _maybe(model: type[M], data: Any) -> M | None:
    try:
        return model.model_validate(data)
    except ValidationError:
        return None


def _problem(details: ErrorDetails, data: dict[str, Any]) -> Problem:
    """One of pydantic's errors in our words."""
    path, value = _path(details["loc"], data)
    context = details.get("ctx") or {}
    kind = details["type"]
    if "at" in context:  # one of our own
        at = context["at"].split("/") if context["at"] else []
        return Problem(pointer(*path, *at), kind, details["msg"], context.get("hint"))
    where = pointer(*path)
    if kind == "missing":
        return Problem(where, "missing_field", f"{path[-1]} is missing", _MISSING.get(where))
    if kind == "extra_forbidden":
        names = _fields_at(path[:-1], data)
        hint = did_you_mean(str(path[-1]), names) or (f"known here: {', '.join(names)}" if names else None)
        return Problem(where, "unknown_field", "unknown field", hint)
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        return _unknown_type(path, value, data)
    return Problem(where, "invalid_value", _in_words(details, value), _value_hint(context, value))


_MISSING = {
    "/trainable": "trainable: module:function",
    "/metric": "metric: {name: val_loss, goal: minimize}",
    "/parameters": "parameters: {lr: {type: float, low: 1e-4, high: 1e-1, log: true}}",
    "/metric/goal": "minimize or maximize",
}


def _unknown_type(path: list[str | int], value: Any, data: dict[str, Any]) -> Problem:
    known = _SCHEDULERS if path[:1] == ["scheduler"] else _DISTRIBUTIONS
    where = pointer(*path, "type")
    if not isinstance(value, Mapping) or "type" not in value:
        return Problem(where if isinstance(value, Mapping) else pointer(*path), "missing_field", "type is missing",
                       f"one of {', '.join(known)}")  # fmt: skip
    kind = value["type"]
    hint = did_you_mean(str(kind), known) or f"one of {', '.join(known)}"
    return Problem(where, "unknown_type", f"{kind!r} is not a type known here", hint)


def _path(loc: tuple[int | str, ...], data: Any) -> tuple[list[str | int], Any]:
    """A pydantic location without the tags of unions, and the value there."""
    path: list[str | int] = []
    for index, part in enumerate(loc):
        last = index == len(loc) - 1
        if _has(data, part):
            data = data[part]
        elif not last or (isinstance(part, str) and part.startswith("<")) or part in _SCHEDULERS:
            continue  # a union's tag
        path.append(part)
    return path, data


def _has(data: Any, part: int | str) -> bool:
    if isinstance(data, list | tuple):
        return isinstance(part, int) and part < len(data)
    return isinstance(data, Mapping) and part in data


def _fields_at(path: list[str | int], data: Any) -> list[str]:
    """The fields of the model at a path."""
    if path[:1] == ["parameters"]:
        for part in path:
            data = data[part]
        model: type[BaseModel] | None = _DISTRIBUTIONS.get(str(data.get("type"))) if isinstance(data, Mapping) else None
        return [*model.model_fields] if model else []
    model = SweepSpec
    for part in path:
        if isinstance(part, int):  # one of a list, whose model is known already
            data = data[part]
            continue
        annotation = model.model_fields[str(part)].annotation
        models = [m for m in (annotation, *get_args(annotation)) if isinstance(m, type) and issubclass(m, BaseModel)]
        chosen = _SCHEDULERS.get(str(data.get(part, {}).get("type"))) if part == "scheduler" else None
        model = chosen or models[0]
        data = data.get(part)
    return [*model.model_fields]


_EXPECTED = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "dict_type": "a mapping",
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
}
_PATTERNS = {
    "name": "is not a name: small letters, digits and dashes, at most 63, no dash at either end",
    "trainable": "is not of the form module:attribute, such as train:train_digits",
}


def _in_words(details: ErrorDetails, value: Any) -> str:
    kind, context = details["type"], details.get("ctx") or {}
    shown = repr(value) if len(repr(value)) <= 60 else f"{repr(value)[:57]}…"
    if kind in _EXPECTED:
        return f"must be {_EXPECTED[kind]}, not {shown}"
    if kind == "literal_error":
        return f"{shown} is not one of {context['expected'].replace(' or ', ', ')}"
    for name, words in (("gt", "above"), ("ge", "at least"), ("lt", "below"), ("le", "at most")):
        if name in context:
            return f"must be {words} {context[name]:g}, not {shown}"
    if kind == "string_pattern_mismatch":
        return f"{shown} {_PATTERNS.get(str(details['loc'][-1]), 'has the wrong form')}"
    if kind == "string_too_short":
        return "must not be empty"
    return f"{details['msg'][:1].lower()}{details['msg'][1:]}, not {shown}"


def _value_hint(context: Mapping[str, Any], value: Any) -> str | None:
    if "expected" not in context or not isinstance(value, str):
        return None
    words = [word.strip(" '") for word in str(context["expected"]).replace(" or ", ",").split(",")]
    close = difflib.get_close_matches(value.lower(), words, n=1)
    return f"did you mean {close[0]}?" if close else None


def _located(problem: Problem, document: Document) -> Problem:
    """The problem with the line of its field, or of the nearest field around it."""
    where = problem.pointer
    while where not in document.places and where:
        where = where.rpartition("/")[0]
    line, column = document.places.get(where, (None, None))
    return dataclasses.replace(problem, line=line, column=column)
