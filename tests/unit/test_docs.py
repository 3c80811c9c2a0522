"""The documentation against the code: links, fields, error codes, every YAML that is shown or shipped."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest
import yaml

from toprung import errors, tuning
from toprung.tuning.spec import json_schema, parse_spec

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
SPECS = sorted((ROOT / "examples").glob("*/*.yaml"))
LINK = re.compile(r"\]\(([^)#\s]*)(#[^)]*)?\)")
PROBLEM = re.compile(
    r'''Problem\((?:\s*[^"(),]+(?:\([^()]*\))?|"[^"]*"),\s*"([a-z_]+)"'''  # the second argument
    r'''|(?:problem|_wrong)\(\s*"([a-z_]+)"'''  # the first
)
YAML_BLOCK = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_resolve(page: Path) -> None:
    links = [(target, anchor) for target, anchor in LINK.findall(page.read_text()) if "://" not in target]
    assert [target for target, _ in links if not (page.parent / target).exists()] == []
    anchored = [(page.parent / target if target else page, anchor[1:]) for target, anchor in links if anchor]
    assert [(str(to), anchor) for to, anchor in anchored if anchor not in headings(to)] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_specs_that_are_shown_are_valid(page: Path) -> None:
    for block in YAML_BLOCK.findall(page.read_text()):
        if "trainable:" in block:
            parse_spec(block)


@pytest.mark.parametrize("path", SPECS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_specs_that_are_shipped_are_valid(path: Path) -> None:
    assert parse_spec(path.read_text()).space.parameters


def test_the_example_of_a_plain_tuner_is_the_one_that_is_shipped() -> None:
    code = (ROOT / "examples" / "digits" / "tuner.py").read_text()
    assert f"```python\n{code}```" in (ROOT / "docs" / "ray-tune.md").read_text()


@pytest.mark.parametrize("name", ["ToprungSearch", "ToprungScheduler"])
def test_every_argument_for_a_plain_tuner_is_documented(name: str) -> None:
    arguments = inspect.signature(getattr(tuning, name)).parameters
    _, _, section = (ROOT / "docs" / "ray-tune.md").read_text().partition(f"## {name}\n")
    table = section.partition("\n\n**")[0].partition("\n### ")[0]
    rows = {
        arg
        for line in table.splitlines()
        if line.startswith("| `")
        for arg in re.findall(r"`(\w+)`", line.split("|")[1])
    }
    assert rows == set(arguments)


def test_every_field_of_the_spec_is_documented() -> None:
    text = (ROOT / "docs" / "spec.md").read_text()
    schema = json_schema()
    parts = [schema, *(part for part in schema["$defs"].values() if "properties" in part)]
    fields = {field for part in parts for field in part["properties"]}
    code = "\n".join([*re.findall(r"```.*?```", text, re.DOTALL), *re.findall(r"`[^`\n]+`", text)])
    assert {field for field in fields if not re.search(rf"\b{field}\b", code)} == set()


def test_every_error_code_is_documented() -> None:
    text = (ROOT / "docs" / "errors.md").read_text()
    sources = [path for room in ("tuning/spec", "serve/http") for path in (ROOT / room).rglob("*.py")]
    found = {a or b for path in sources for a, b in PROBLEM.findall(path.read_text())} - {"inconsistent"}
    assert len(found) > 20
    classes = [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, errors.ToprungError)]
    codes = found | {cls.code for cls in classes}
    assert {code for code in codes - {"error"} if f"`{code}`" not in text} == set()


def test_the_cluster_file_is_yaml() -> None:
    assert yaml.safe_load((ROOT / "cluster.yaml").read_text())["cluster_name"]
