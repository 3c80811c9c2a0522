"""Commands about the spec: init, validate, schema."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from toprung.cli.forecast import print_forecast
from toprung.cli.session import Session, command
from toprung.cli.starter.propose import Answers, goal_of, pick_metric, sweep_name, write
from toprung.cli.starter.scan import Findings, scan
from toprung.errors import Conflict, InvalidInput, Malformed, Unavailable

PANEL = "Spec"
DEFAULT_TRAINABLE = "train:train"


def init(
    session: Session,
    trainable: Annotated[
        str | None,
        typer.Option("--trainable", metavar="MODULE:NAME", help=f"Default: {DEFAULT_TRAINABLE}, or what reports."),
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The file to write.")] = Path(
        "sweep.yaml"
    ),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Ask nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write a starter sweep.yaml from what train.py reads and reports."""
    if output.exists() and not force:
        raise Conflict(f"{output} exists. Write to another file with -o, or over it with --force.")
    module, name = _target(trainable)
    source = Path(*module.split(".")).with_suffix(".py")
    found = _read(source)
    if trainable is None and found.trainables and name not in found.trainables:
        name = found.trainables[0]
    if source.exists() and not found.defined & {name, "*"}:
        has = f"; it has {', '.join(found.trainables)}" if found.trainables else ""
        raise InvalidInput(f"{source} defines no {name}{has}. Name the function with --trainable {module}:NAME.")
    metric = pick_metric(found.metrics)
    answers = Answers(
        name=sweep_name(Path.cwd().name),
        trainable=f"{module}:{name}",
        has_code=source.exists(),
        metric=metric,
        goal=goal_of(metric),
    )
    if not yes and not session.as_json and sys.stdin.isatty() and sys.stdout.isatty():
        answers = _ask(answers, found)
    text = write(answers, found)
    _checked(text)
    output.write_text(text, encoding="utf-8")
    if session.as_json:
        session.emit({"path": str(output.absolute()), "trainable": answers.trainable, "spec": text})
        return
    session.out.print(text, end="", style="dim")
    if not source.exists():
        session.out.print(f"\nThere is no {source} here: the parameters are an example.")
    session.out.print(f"\nWrote {output}. Look it over, then: toprung validate {output}")


def _target(trainable: str | None) -> tuple[str, str]:
    module, colon, name = (trainable or DEFAULT_TRAINABLE).partition(":")
    parts = [*module.split("."), name]
    if not colon or not all(part.isidentifier() for part in parts):
        raise InvalidInput(f"--trainable {trainable!r} should look like {DEFAULT_TRAINABLE}: module, colon, function.")
    return module, name


def _read(source: Path) -> Findings:
    if not source.exists():
        return Findings()
    try:
        return scan(source.read_text(encoding="utf-8"))
    except SyntaxError as error:
        raise InvalidInput(f"{source}, line {error.lineno}, is not valid Python: {error.msg}.") from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f"{source} is not a text file in UTF-8.") from error


def _ask(answers: Answers, found: Findings) -> Answers:
    hint = f" (found: {', '.join(found.metrics)})" if found.metrics else ""
    metric = typer.prompt(f"Which metric counts?{hint}", default=answers.metric)
    goal = ""
    while goal not in ("minimize", "maximize"):
        goal = typer.prompt("minimize or maximize it?", default=goal_of(metric))
    return Answers(
        name=answers.name,
        trainable=answers.trainable,
        has_code=answers.has_code,
        metric=metric,
        goal=goal,
        trials=typer.prompt("How many trials?", default=answers.trials, type=int),
        max_t=typer.prompt("How many reports (epochs) does the longest trial make?", default=answers.max_t, type=int),
        gpu=typer.prompt("GPUs per trial?", default=answers.gpu, type=float),
    )


def _checked(text: str) -> None:
    from toprung.tuning.spec import parse_spec  # noqa: PLC0415 pydantic models: slow to load

    parse_spec(text)


def validate(
    session: Session, spec: Annotated[Path, typer.Argument(metavar="SPEC", help="The sweep's YAML or JSON file.")]
) -> None:
    """Check a spec, and say what the sweep would cost."""
    from toprung.tuning.plan import forecast as local_forecast  # noqa: PLC0415 pydantic models: slow to load
    from toprung.tuning.spec import parse_spec  # noqa: PLC0415

    session.subject = str(spec)
    parsed = parse_spec(read_text(spec))
    try:
        forecast, asked = session.client.validate(spec), session.client.url
    except Unavailable:  # what a sweep costs in steps needs no service; what fits at once does
        forecast, asked = local_forecast(parsed), None
    if session.as_json:
        session.emit({**forecast.model_dump(mode="json"), "service": asked})
    else:
        print_forecast(session.out, forecast, asked)


def read_text(path: Path) -> str:
    """Raises:
    Malformed: it is no text.
    """
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Malformed(f"{path} is not a text file in UTF-8.") from None


def schema(session: Session) -> None:
    """Print the JSON Schema of the spec, for editors."""
    from toprung.tuning.spec import json_schema  # noqa: PLC0415 pydantic models: slow to load

    if session.as_json:
        session.emit(json_schema())
    else:
        session.out.print_json(data=json_schema())


def register(app: typer.Typer) -> None:
    command(app, PANEL)(init)
    command(app, PANEL)(validate)
    command(app, PANEL)(schema)
