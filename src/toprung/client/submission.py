"""What the user gave to `submit`, made into a spec and the files of its code."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toprung.client.packing import CodeFile, code_files
from toprung.errors import InvalidSpec, Malformed, Problem
from toprung.tuning.spec import SweepSpec, parse_spec, spec_from

Source = str | Path | Mapping[str, Any] | SweepSpec
"""The path of a YAML or JSON file, a mapping, or a spec."""

_UPLOADED = re.compile(r"sha256:[0-9a-f]{64}")
_MODULE_SUFFIXES = (".py", ".so", ".pyd")


@dataclass(frozen=True, slots=True)
class Submission:
    """A checked spec; `files` is None where nothing is to be uploaded."""

    spec: SweepSpec
    files: list[CodeFile] | None
    folder: Path = Path()
    """That of the files."""


def prepare(source: Source, code: str | Path | None = None, name: str | None = None) -> Submission:
    """Read and check what can be checked without the service.

    Raises:
        InvalidSpec: with all problems; with lines where the source is a file.
        Malformed: the file can't be read or isn't YAML or JSON.
        InvalidInput: the code folder can't be packed.
    """
    spec, base = _read(source)
    if name is not None:
        spec = _with(spec, name=name)
    if code is None:
        code, folder = spec.code, base / (spec.code or "")
    else:
        folder = Path(code)
    if code is None:
        _check_not_left_behind(spec, base)
        return Submission(spec, None)
    if _UPLOADED.fullmatch(str(code)):
        return Submission(with_code(spec, str(code)), None)
    files = code_files(folder)
    _check_trainable(spec, files, folder)
    return Submission(spec, files, folder)


def with_code(spec: SweepSpec, code: str | None) -> SweepSpec:
    return spec.model_copy(update={"code": code})


def _read(source: Source) -> tuple[SweepSpec, Path]:
    """The spec, and the folder that its `code` is relative to."""
    if isinstance(source, SweepSpec):
        return source, Path()
    if isinstance(source, Mapping):
        return spec_from(source), Path()
    path = Path(source)
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Malformed(f"{path} is not a text file in UTF-8.") from error
    except (OSError, ValueError) as error:  # ValueError: a null character
        why = getattr(error, "strerror", None) or error
        raise Malformed(f"The spec {str(path)!r} can't be read: {why}.") from error
    return parse_spec(text), path.parent


def _with(spec: SweepSpec, **changes: Any) -> SweepSpec:
    """A changed spec, checked anew."""
    return spec_from({**spec.model_dump(mode="json"), **changes})


def _check_trainable(spec: SweepSpec, files: list[CodeFile], folder: Path) -> None:
    """That the trainable's module is there: better to hear it now than from the first trial.

    Raises:
        InvalidSpec: it isn't.
    """
    module, _, attribute = spec.trainable.partition(":")
    if spec.environment.pip or module.split(".")[0] == "toprung":
        return  # it may come from a package, it does come from ours
    wanted = module.replace(".", "/")
    names = [file.name for file in files]
    if any(name.startswith(wanted + "/") or _module(name) == wanted for name in names):
        return
    modules = sorted(found for name in names if (found := _module(name)) and "/" not in found)
    last = wanted.rpartition("/")[2]
    nested = sorted(name for name in names if _module(name.rpartition("/")[2]) == last)
    if nested:
        hint = f"{nested[0]} is there: use code: {(folder / nested[0]).parent}"
    elif modules:
        hint = f"its modules are {', '.join(modules[:5])}: use {modules[0]}:{attribute}, for example"
    else:
        hint = "it has no Python files; check `code`, and what .toprungignore or .gitignore leaves out"
    message = f"{wanted}.py is not in the code folder {folder}"
    raise InvalidSpec(
        f"The trainable's module is missing: {message}.",
        problems=[Problem("/trainable", "module_not_in_code", message, hint=hint)],
    )


def _check_not_left_behind(spec: SweepSpec, folder: Path) -> None:
    """That a module which is here and not installed is sent: the nodes would not have it.

    Raises:
        InvalidSpec: it is not.
    """
    top = spec.trainable.partition(":")[0].split(".")[0]
    module, package = folder / f"{top}.py", folder / top
    here = module if module.is_file() else package
    if not (module.is_file() or any(package.glob("*.py"))) or spec.environment.pip or _is_installed(top):
        return
    message = f"is not given, so that {here.name}, which is not installed, would not be sent"
    raise InvalidSpec(
        f"The trainable's module would not be sent: the spec has no `code`, and {here} is not installed.",
        problems=[Problem("/code", "code_missing", message, hint="add `code: .`, the folder to send")],
    )


def _is_installed(module: str) -> bool:
    """Whether Python finds it without the folder that it was started in."""
    paths = [path for path in sys.path if path]
    finders = (getattr(finder, "find_spec", None) for finder in sys.meta_path)
    return any(find is not None and find(module, paths) is not None for find in finders)


def _module(name: str) -> str | None:
    stem, dot, _ = name.partition(".")
    return stem if dot and name.endswith(_MODULE_SUFFIXES) else None
