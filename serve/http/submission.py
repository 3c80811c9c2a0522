"""The spec in a request: read, checked, its code looked for."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Request

from toprung.errors import InvalidSpec, Malformed, Problem
from toprung.serve.http.bodies import check_media_type, limited
from toprung.serve.http.context import Services
from toprung.serve.http.packages import PackageStore
from toprung.serve.http.priors import prior_sweeps
from toprung.serve.settings import Settings
from toprung.tuning.spec import SweepSpec, parse_spec
from toprung.tuning.spec.reading import Document, read

MAX_SPEC_BYTES = 1024 * 1024
_JSON = "application/json"
_YAML = ("application/yaml", "text/yaml", "application/x-yaml", "text/plain", "application/x-www-form-urlencoded")
"""The last is what `curl --data-binary @sweep.yaml` says if it isn't told otherwise."""
_CODE = re.compile(r"sha256:([0-9a-f]{64})")

SPEC_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": "A spec, at most 1 MiB; GET /v1/schema has its JSON Schema.",
        "content": {
            _JSON: {"schema": {"type": "object"}},
            **{media_type: {"schema": {"type": "string"}} for media_type in _YAML},
        },
    }
}
"""For OpenAPI."""


@dataclass(frozen=True, slots=True)
class SpecText:
    """A spec as it was sent."""

    text: str
    sha256: str
    """Of its bytes: a submission is the same if they are."""


async def _spec_text(request: Request) -> SpecText:
    media_type = check_media_type(request, (_JSON, *_YAML), "a spec")
    data = b"".join([chunk async for chunk in limited(request, MAX_SPEC_BYTES, "A spec")])
    text = _decoded(data)
    if media_type == _JSON:
        _check_json(text)
    return SpecText(text, hashlib.sha256(data).hexdigest())


SentSpec = Annotated[SpecText, Depends(_spec_text)]


def checked_spec(sent: SpecText, services: Services) -> SweepSpec:
    """The spec, whose code and prior sweeps are there; the latter by their ids.

    Raises:
        InvalidSpec: lists everything that is wrong with it.
        Malformed: it is not YAML.
    """
    spec, problems = None, []
    try:
        spec = parse_spec(sent.text)
    except InvalidSpec as error:
        problems = list(error.problems)
    prior: list[str] = []
    if spec is None or spec.code is not None or spec.search.prior:
        document = read(sent.text)
        problems += _code_problems(document, services.packages)
        prior, others = prior_sweeps(document, services.store)
        problems += others
    if spec is not None:
        problems += price_problems(spec, services.settings)
    if spec is None or problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        ordered = sorted(problems, key=lambda problem: (problem.line or 0, problem.column or 0))
        raise InvalidSpec(f"the spec has {count}", problems=ordered)
    if not prior:
        return spec
    return spec.model_copy(update={"search": spec.search.model_copy(update={"prior": tuple(dict.fromkeys(prior))})})


def price_problems(spec: SweepSpec, settings: Settings) -> list[Problem]:
    """Whether a budget of money can be kept to."""
    resources = spec.resources
    kinds = [resources.at(step).accelerator_type for step in range(len(resources.ladder) + 1)]
    without = [kind for kind in kinds if settings.price(kind) is None]
    if spec.budget.cost is None or not without:
        return []
    kind = without[0]
    named = ", ".join(sorted(settings.prices)) or "no GPU at all"
    message = f"the service has no price for {kind or 'GPUs in general'}; it has one for {named}"
    hint = "name one of these as resources.accelerator_type, or bound gpu_hours instead"
    return [Problem("/budget/cost", "no_price", message, hint)]


def _code_problems(document: Document, packages: PackageStore) -> list[Problem]:
    code = document.data.get("code") if isinstance(document.data, dict) else None
    if not isinstance(code, str) or not code:  # none, or the spec's own checks have said so
        return []
    match = _CODE.fullmatch(code)
    if match is not None and packages.find(match[1]) is not None:
        return []
    line, column = document.places.get("/code", (None, None))
    if match is None:
        kind = "not_a_package"
        message = f"must be sha256:… of an uploaded package, not {code[:80]!r}: the service cannot see your folders"
    else:
        kind, message = "missing_package", f"no package {code} has been uploaded"
    hint = "PUT a zip of the folder to /v1/packages/{sha256}, or submit with `toprung submit` or the Python client"
    return [Problem("/code", kind, message, hint, line, column)]


def _decoded(data: bytes) -> str:
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        raise _malformed(f"is not UTF-8: byte 0x{data[error.start]:02x}", line, column) from None


def _check_json(text: str) -> None:
    """What says it is JSON must be: the YAML reader would take half of it for something else."""
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        raise _malformed(f"is not JSON: {error.msg}", error.lineno, error.colno) from None
    except (RecursionError, ValueError):
        raise Malformed("the spec is nested too deeply, or has a number that is too long") from None


def _malformed(what: str, line: int, column: int) -> Malformed:
    detail = f"the spec {what} (line {line}, column {column})"
    return Malformed(detail, problems=[Problem("", "malformed", what, line=line, column=column)])
