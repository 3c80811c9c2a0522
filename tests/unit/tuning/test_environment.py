"""What a worker tells of itself, and how it gets to the ledger's batches."""

from __future__ import annotations

import pickle
import platform
from importlib import metadata
from pathlib import Path

import pytest
import torch

from toprung.tuning.run.environment import carried_by, driver_version, installed, note_of, surroundings, taken_from
from toprung.tuning.run.ledger import Ledger
from toprung.tuning.spec import Git, spec_from

SPEC = spec_from(
    {
        "trainable": "train:fit",
        "code": f"sha256:{'a' * 64}",
        "git": {"commit": "c" * 40},
        "metric": {"name": "loss", "goal": "minimize"},
        "parameters": {"x": {"type": "float", "low": 0, "high": 1}},
        "budget": {"trials": 3},
    }
)


def test_this_process() -> None:
    found = surroundings(has_gpu=False)
    assert (found.python, found.torch_threads) == (platform.python_version(), torch.get_num_threads())
    assert (found.gpus, found.driver, found.code) == ((), None, None)
    assert found.cpu
    for name in ("numpy", "pydantic", "ray", "scikit-learn", "typing-extensions"):
        assert found.packages[name] == metadata.version(name)
    assert list(found.packages) == sorted(found.packages)


@pytest.mark.parametrize(
    ("said", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19 18:56:32 UTC 2023\nGCC", "535.129.03"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  550.54.15  Release Build  (dvs)\n", "550.54.15"),
        ("something else", None),
    ],
)
def test_the_version_of_the_driver(said: str, version: str | None) -> None:
    assert driver_version(said) == version


def test_the_package_that_is_imported_is_the_one_that_is_listed(tmp_path: Path) -> None:
    for folder, version in (("first", "2.0"), ("second", "1.0")):
        (tmp_path / folder / f"My_Package-{version}.dist-info").mkdir(parents=True)
    (tmp_path / "first" / "not-a-package").mkdir()
    path = (str(tmp_path / "missing"), str(tmp_path / "first"), str(tmp_path / "second"))
    assert installed(path) == {"my-package": "2.0"}


def test_a_note_is_taken_out_of_the_result_that_brings_it() -> None:
    note, result = note_of(5, has_gpu=False), {"loss": 0.5}
    note.put_into(result)
    assert taken_from(pickle.loads(pickle.dumps(result))) == note
    assert taken_from(result) == note
    assert (result, taken_from(result)) == ({"loss": 0.5}, None)


class Closed(Exception):
    """Of a user, with no room for what others put there."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(name)


def test_a_note_is_on_the_exception_of_an_attempt_without_a_result() -> None:
    note = note_of(5, has_gpu=False)
    error, closed = ValueError("bad shapes"), Closed("no")
    note.put_onto(error)
    note.put_onto(closed)
    assert carried_by(pickle.loads(pickle.dumps(error))) == note
    assert (str(error), carried_by(closed)) == ("bad shapes", None)


def test_each_surroundings_are_sent_once() -> None:
    ledger = Ledger("swp_1", SPEC)
    for number in range(3):
        ledger.open(number, {"x": 0.5}, {"x": 0.5}, 0)
        ledger.started(number)
    first = note_of(1, has_gpu=False)
    other = first._replace(seed=2, environment=first.environment.replace(platform.python_version(), "3.99.0", 1))
    ledger.runs_in(0, first)
    ledger.runs_in(1, first._replace(seed=7))
    taken = ledger.take()
    assert taken is not None
    (sent,) = taken[0].environments
    assert (sent.code, sent.git) == (SPEC.code, Git(commit="c" * 40))
    assert [(ledger[n].seed, ledger[n].environment) for n in (0, 1)] == [(1, sent.key), (7, sent.key)]

    ledger.runs_in(0, first)
    ledger.runs_in(2, other)
    ledger.runs_in(1, None)
    taken = ledger.take()
    assert taken is not None
    (sent,) = taken[0].environments
    assert sent.python == "3.99.0"
    assert ledger[2].environment == sent.key
