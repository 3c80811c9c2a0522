"""Where the sources lie, and that the wheel has all of them."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINKED = ("tuning", "figures", "serve", "cluster", "examples")
SHIPPED = (".py", ".yaml", ".mako", ".md", ".typed", ".html", ".css", ".js", ".svg")


@pytest.mark.parametrize("room", LINKED)
def test_the_package_links_to_the_room(room: str) -> None:
    link = ROOT / "src" / "toprung" / room
    assert os.readlink(link) == f"../../{room}"
    assert (link / "__init__.py").is_file()


def test_the_wheel_has_every_source_file() -> None:
    installed = {str(file) for file in distribution("toprung").files or ()}
    if "toprung/__init__.py" not in installed:
        pytest.skip("installed as an editable: .ci/run tests the wheel")
    folder = ROOT / "src" / "toprung"
    sources = {
        f"toprung/{(Path(where) / name).relative_to(folder)}"
        for where, _, names in os.walk(folder, followlinks=True)
        for name in names
        if name.endswith(SHIPPED) and "__pycache__" not in where
    }
    assert {name for name in installed if name.startswith("toprung/") and name.endswith(SHIPPED)} == sources


@pytest.mark.parametrize(
    "module", ["toprung", "toprung.client", "toprung.cli", "toprung.tuning", "toprung.tuning.spec"]
)
def test_the_client_loads_nothing_of_the_service(module: str) -> None:
    heavy = ["ray", "torch", "optuna", "fastapi", "sqlalchemy", "alembic", "wandb", "tensorboard"]
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
