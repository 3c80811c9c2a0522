"""From what the user has to what is sent."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.unit.client.client_help import SPEC, Connect, answer, problem, spec, sweep

from toprung.errors import InvalidInput, InvalidSpec, Malformed
from toprung.tuning.records import Forecast


class Service:
    """Takes submissions and packages."""

    def __init__(self) -> None:
        self.specs: list[dict[str, Any]] = []
        self.packages: dict[str, bytes] = {}
        self.uploads = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        *_, what, name = request.url.path.split("/")
        match request.method, what:
            case "POST", _:
                self.specs.append(json.loads(request.content))
                if name == "sweeps:validate":
                    return answer(forecast(self.specs[-1]))
                return answer(sweep(), 201)
            case "GET", "packages":
                return answer({"sha256": name}) if name in self.packages else problem(404, "not_found")
            case "PUT", "packages":
                return self._put(request, name)
        return problem(404, "not_found")

    def _put(self, request: httpx.Request, sha256: str) -> httpx.Response:
        self.uploads += 1
        assert request.headers["content-type"] == "application/zip"
        assert int(request.headers["content-length"]) == len(request.content)
        assert "transfer-encoding" not in request.headers
        assert hashlib.sha256(request.content).hexdigest() == sha256
        self.packages[sha256] = request.content
        return answer({"sha256": sha256, "size_bytes": len(request.content)}, 201)

    def files(self) -> list[str]:
        """Those in the package that the last spec names."""
        sha256 = self.specs[-1]["code"].removeprefix("sha256:")
        return zipfile.ZipFile(io.BytesIO(self.packages[sha256])).namelist()


def forecast(sent: dict[str, Any]) -> Forecast:
    sums = dict.fromkeys(["num_trials", "expected_steps", "worst_case_steps", "full_steps", "slots"])
    return Forecast.model_validate({"spec": sent, "rungs": [], **sums})


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with a spec and its code, which is not the working directory."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text("def fit(config): ...")
    (project / "sweep.yaml").write_text(json.dumps({**SPEC, "code": "."}))
    return project


def test_a_file_with_its_code(connect: Connect, service: Service, project: Path) -> None:
    connect(service).submit(str(project / "sweep.yaml"))

    assert service.files() == ["sweep.yaml", "train.py"]
    assert service.specs[0]["name"] == "digits"


def test_code_is_uploaded_once(connect: Connect, service: Service, project: Path) -> None:
    client = connect(service)

    client.submit(project / "sweep.yaml")
    client.submit(project / "sweep.yaml")
    assert service.uploads == 1

    (project / "train.py").write_text("def fit(config): 1")
    client.submit(project / "sweep.yaml")
    assert service.uploads == 2


def test_an_upload_is_repeated_whole(connect: Connect, naps: list[float], project: Path, service: Service) -> None:
    faults = [problem(503, "unavailable")]

    def handler(request: httpx.Request) -> httpx.Response:
        return faults.pop() if faults and request.method == "PUT" else service(request)

    connect(handler).submit(project / "sweep.yaml")

    assert service.files() == ["sweep.yaml", "train.py"]


@pytest.mark.parametrize("make", [dict, lambda given: spec(**given)], ids=["dict", "SweepSpec"])
def test_without_a_file_code_is_relative_to_the_working_directory(
    connect: Connect, service: Service, project: Path, monkeypatch: pytest.MonkeyPatch, make: Any
) -> None:
    monkeypatch.chdir(project.parent)

    connect(service).submit(make({**SPEC, "code": "project"}))

    assert service.files() == ["sweep.yaml", "train.py"]


def test_the_argument_wins_over_the_spec(
    connect: Connect, service: Service, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project.parent / "other").mkdir()
    (project.parent / "other" / "train.py").touch()
    monkeypatch.chdir(project.parent)

    connect(service).submit(project / "sweep.yaml", code="other", name="renamed")

    assert service.files() == ["train.py"]
    assert service.specs[0]["name"] == "renamed"


def test_a_package_that_is_there_needs_no_folder(connect: Connect, service: Service) -> None:
    code = "sha256:" + "0" * 64

    connect(service).submit({**SPEC, "code": code})
    connect(service).submit(SPEC, code=code)

    assert [sent["code"] for sent in service.specs] == [code, code]
    assert service.uploads == 0


def test_no_code_at_all(connect: Connect, service: Service) -> None:
    connect(service).submit(SPEC)

    assert service.specs[0]["code"] is None


def test_what_is_sent_is_the_spec(connect: Connect, service: Service) -> None:
    connect(service).submit(SPEC)

    assert spec(**service.specs[0]) == spec()


def test_validate_sends_no_code(connect: Connect, service: Service, project: Path) -> None:
    found = connect(service).validate(project / "sweep.yaml")

    assert service.specs[0]["code"] is None
    assert service.uploads == 0
    assert found.spec.code == "."


@pytest.mark.parametrize(
    ("trainable", "file"),
    [("train:fit", "train/__init__.py"), ("a.b:fit", "a/b.py"), ("a:fit", "a/x.py"), ("a:fit", "a.cpython-311.so")],
)
def test_where_a_trainable_may_be(
    connect: Connect, service: Service, tmp_path: Path, trainable: str, file: str
) -> None:
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).touch()

    connect(service).submit({**SPEC, "trainable": trainable}, code=tmp_path)

    assert service.uploads == 1


@pytest.mark.parametrize(
    ("files", "hint"),
    [
        (["main.py", "net.py"], "its modules are main, net: use main:fit, for example"),
        (["src/train.py"], "src/train.py is there"),
        (["train.yaml"], "it has no Python files"),
    ],
)
def test_a_trainable_that_is_not_in_the_code(
    connect: Connect, service: Service, tmp_path: Path, files: list[str], hint: str
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).touch()

    with pytest.raises(InvalidSpec, match=r"train\.py is not in the code folder") as caught:
        connect(service).submit(SPEC, code=tmp_path)

    (found,) = caught.value.problems
    assert (found.pointer, found.code) == ("/trainable", "module_not_in_code")
    assert found.hint is not None
    assert hint in found.hint
    assert service.specs == []


@pytest.mark.parametrize("changes", [{"environment": {"pip": ["train"]}}, {"trainable": "toprung.examples.digits:fit"}])
def test_a_trainable_of_a_package_need_not_be_in_the_code(
    connect: Connect, service: Service, tmp_path: Path, changes: dict[str, Any]
) -> None:
    connect(service).submit({**SPEC, **changes}, code=tmp_path)

    assert service.uploads == 1


@pytest.mark.parametrize("module", ["left_behind.py", "left_behind/train.py"])
def test_a_module_beside_the_spec_that_would_not_be_sent(
    connect: Connect, service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    (tmp_path / module).parent.mkdir(exist_ok=True)
    (tmp_path / module).touch()
    file = tmp_path / "sweep.yaml"
    spec = {**SPEC, "trainable": f"{module.removesuffix('.py').replace('/', '.')}:fit"}
    file.write_text(json.dumps(spec))

    with pytest.raises(InvalidSpec, match="the spec has no `code`") as caught:
        connect(service).submit(file)

    (found,) = caught.value.problems
    assert (found.pointer, found.code) == ("/code", "code_missing")
    assert found.hint == "add `code: .`, the folder to send"
    assert service.specs == []
    file.write_text(json.dumps({**spec, "code": "."}))
    connect(service).submit(file)
    assert service.uploads == 1
    file.write_text(json.dumps(spec))
    monkeypatch.syspath_prepend(tmp_path)  # as an installation does
    connect(service).submit(file)
    assert service.uploads == 1


def test_problems_of_a_file_have_lines(connect: Connect, service: Service, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("trainable: train:fit\nmetric: {name: loss, goal: least}\nbudgets: {}\n")

    with pytest.raises(InvalidSpec) as caught:
        connect(service).submit(file)

    assert {problem.pointer: problem.line for problem in caught.value.problems}["/metric/goal"] == 2
    assert service.specs == []


@pytest.mark.parametrize("name", ["Not a name", ""])
def test_a_name_given_is_checked(connect: Connect, service: Service, name: str) -> None:
    with pytest.raises(InvalidSpec) as caught:
        connect(service).submit(SPEC, name=name)
    assert caught.value.problems[0].pointer == "/name"


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read(connect: Connect, service: Service, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "sweep.yaml").write_bytes(content)

    with pytest.raises(Malformed, match=r"sweep\.yaml"):
        connect(service).submit(tmp_path / "sweep.yaml")


def test_a_code_folder_that_is_not_there(connect: Connect, service: Service, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="does not exist"):
        connect(service).submit(SPEC, code=tmp_path / "nowhere")
