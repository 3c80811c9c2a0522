"""The set of commands and flags is a promise: changing it shows up here. docs/cli.md tells the same."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit.cli.cli_help import run
from typer.main import get_command

from toprung.cli import app

GLOBAL = {"--url", "--json", "--home"}
COMMANDS = {
    "demo": {"--keep"},
    "init": {"--trainable", "--output", "-o", "--yes", "-y", "--force"},
    "validate": {"SPEC"},
    "schema": set(),
    "simulate": {"SPEC", "--workers", "--curve", "--step-s", "--resume-s", "--max-steps", "--seeds"},
    "up": {"--port", "--host", "--auth", "--address", "--num-cpus", "--num-gpus", "--foreground", "COMMAND"},
    "down": set(),
    "status": set(),
    "version": set(),
    "usage": {"--since", "--until"},
    "token create": {"--owner", "--scope"},
    "token list": set(),
    "token revoke": {"TOKEN"},
    "webhook create": {"URL", "--event", "--format", "--sweeps"},
    "webhook list": set(),
    "webhook delete": {"WEBHOOK"},
    "webhook test": {"WEBHOOK"},
    "webhook deliveries": {"WEBHOOK", "--limit"},
    "submit": {"SPEC", "--watch", "-w", "--code", "--name", "--plain"},
    "watch": {"SWEEP", "--plain"},
    "list": {"--state", "--owner", "--limit"},
    "show": {"SWEEP", "TRIAL"},
    "tensorboard": {"SWEEP", "--open"},
    "pause": {"SWEEP"},
    "resume": {"SWEEP"},
    "cancel": {"SWEEP"},
    "edit": {
        *("SWEEP", "--trials", "--steps", "--wall-time", "--gpu-hours"),
        *("--concurrency", "--priority", "--weight"),
    },
    "extend": {"SWEEP", "--trials", "--steps", "--wall-time", "--gpu-hours"},
    "retry": {"SWEEP", "TRIAL]...", "--failed", "--code"},
    "stop": {"SWEEP", "TRIAL"},
    "enqueue": {"SWEEP", "NAME=VALUE..."},
    "clone": {"SWEEP", "--name", "--set"},
    "trials": {"SWEEP", "--state", "--order-by", "--limit"},
    "best": {"SWEEP", "-k", "--yaml"},
    "logs": {"SWEEP", "TRIAL", "--follow", "-f", "--attempt"},
    "download": {"SWEEP", "TRIAL", "--output", "-o"},
    "reproduce": {"SWEEP", "TRIAL", "--tolerance"},
    "delete": {"SWEEP", "--yes", "-y"},
    "gc": {"--dry-run", "--older-than"},
    "cluster check": {"FILE"},
    "cluster take-back": {"NODE"},
    "cluster watch-notice": set(),
    "cluster plan": {"FILE", "--sweep", "--trials", "--cpu", "--gpu", "--accelerator-type"},
    "cluster status": set(),
    "cluster doctor": set(),
    "wandb sync": {"SWEEP", "--dry-run"},
}
DOCS = Path(__file__).parents[3] / "docs" / "cli.md"


def all_commands(group: Any, prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, command in group.commands.items():
        inner = hasattr(command, "commands")
        found |= all_commands(command, f"{name} ") if inner else {prefix + name: command}
    return found


def test_commands_and_flags_are_frozen() -> None:
    commands = all_commands(get_command(app))
    found = {
        name: {
            *(option for param in command.params for option in param.opts if option.startswith("-")),
            *(param.metavar.strip("[]") for param in command.params if not param.opts[0].startswith("-")),
        }
        for name, command in commands.items()
    }
    assert found == {name: flags | GLOBAL for name, flags in COMMANDS.items()}


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(name: str) -> None:
    done = run(*name.split(), "--help")
    assert done.code == 0
    assert f"toprung {name}" in done.out


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_and_flag_is_documented(name: str) -> None:
    text = DOCS.read_text(encoding="utf-8")
    (heading,) = re.findall(rf"^### `toprung {name}\b.*$", text, re.MULTILINE)
    section = text.split(heading)[1].split("\n### ")[0]
    missing = [flag for flag in COMMANDS[name] if flag.startswith("--") and flag not in heading + section]
    assert missing == []


def test_no_command_shows_the_help() -> None:
    done = run()
    assert (done.code, "Start with: toprung demo" in done.out) == (0, True)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["sumbit"], "No such command 'sumbit'."),
        (["list", "--nope"], "No such option: --nope"),
        (["best", "x", "-k", "0"], "'-k'"),
        (["show"], "'SWEEP'"),
        (["best", "x", "--yaml", "--json"], "choose one of --yaml and --json"),
        (["list", "--state", "done"], "--state"),
    ],
)
def test_usage_errors(args: list[str], message: str) -> None:
    done = run(*args)
    as_json = "--json" in args
    assert done.code == 2
    assert message in (done.json["detail"] if as_json else done.err)
    assert "--help" in (done.out if as_json else done.err)
    as_problem = run(*args, "--json")
    assert as_problem.code == 2
    assert as_problem.json["code"] == "usage"


def test_the_command_line_starts_without_the_heavy_libraries() -> None:
    heavy = [
        "ray",
        "torch",
        "optuna",
        "fastapi",
        "sqlalchemy",
        "httpx",
        "textual",
        "toprung.tuning.records",
        "toprung.client",
    ]
    code = f"import sys, toprung.cli; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_completion_scripts_are_there() -> None:
    env = {"_TOPRUNG_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "toprung ca"}
    done = run(env=env)
    assert "cancel" in done.out
