"""The names that users rely on, and what importing them costs."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import toprung.client
from toprung.client import AsyncClient, AsyncSweepHandle, AsyncTrialHandle, Client, SweepHandle, TrialHandle
from toprung.client.ignore import ALWAYS_IGNORED

NAMES = {
    Client: (
        "close cluster create_token doctor events gc revoke_token schema set_aside submit sweep sweeps take_back "
        "tokens url usage validate version"
    ),
    SweepHandle: (
        "best best_trials cancel clone decisions delete edit enqueue events extend files id name pause plot record "
        "refresh resume retry state to_dataframe trial trials wait watch"
    ),
    TrialHandle: (
        "config download_checkpoint environment logs number params record refresh reproduce results state stop value"
    ),
}
TWINS = [(Client, AsyncClient), (SweepHandle, AsyncSweepHandle), (TrialHandle, AsyncTrialHandle)]


def public(kind: type) -> dict[str, Any]:
    return {name: value for name, value in inspect.getmembers(kind) if not name.startswith("_")}


def test_the_module_offers_these_names() -> None:
    assert sorted(toprung.client.__all__) == [
        "AsyncClient",
        "AsyncSweepHandle",
        "AsyncTrialHandle",
        "Client",
        "SweepHandle",
        "TrialHandle",
    ]


@pytest.mark.parametrize("kind", NAMES)
def test_the_classes_offer_these_names(kind: type) -> None:
    assert sorted(public(kind)) == sorted(NAMES[kind].split())


@pytest.mark.parametrize(("sync", "aio"), TWINS)
def test_sync_and_async_take_the_same_arguments(sync: type, aio: type) -> None:
    ours, theirs = public(sync), public(aio)

    assert ours.keys() == theirs.keys()
    for name in (name for name in ours if callable(ours[name])):
        given, taken = inspect.signature(ours[name]), inspect.signature(theirs[name])
        assert given.parameters == taken.parameters, name
        waits = inspect.iscoroutinefunction(theirs[name])
        returned = str(taken.return_annotation).replace("Async", "")
        assert returned == str(given.return_annotation), name
        assert waits is ("Iterator" not in returned), name


def test_importing_the_client_loads_nothing_heavy() -> None:
    code = (
        "import sys, toprung.client\n"
        "heavy = 'ray torch optuna fastapi starlette sqlalchemy alembic wandb tensorboard numpy'.split()\n"
        "print([name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"


GUIDE = (Path(__file__).parents[3] / "docs" / "python.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", NAMES)
def test_the_guide_names_all_of_them(kind: type) -> None:
    assert [name for name in public(kind) if not re.search(rf"\b{name}\b", GUIDE)] == []


def test_the_guide_names_what_is_never_packed() -> None:
    listed = {rule.replace("*.py[co]", "*.pyc") for rule in ALWAYS_IGNORED if rule}

    assert listed <= set(re.split(r"[\s`]+", GUIDE))


@pytest.mark.parametrize("block", re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL))
def test_the_examples_of_the_guide_are_python(block: str) -> None:
    compile(block, "docs/python.md", "exec")
