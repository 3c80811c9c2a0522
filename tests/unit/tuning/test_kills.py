"""Whether the kernel has killed for want of memory, as its counts say."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.exceptions import GetTimeoutError

from toprung.tuning.run.kills import _counter, has_grown, note, was_killed

V1 = "oom_kill_disable 0\nunder_oom 0\noom_kill {}\n"
V2 = "low 0\nhigh 0\nmax 7\noom 2\noom_kill {}\noom_group_kill 0\n"


@pytest.mark.parametrize("words", [V1, V2])
def test_a_count_that_grows(tmp_path: Path, words: str) -> None:
    counter = tmp_path / "counter"
    counter.write_text(words.format(3))
    note(tmp_path, counter)
    assert not has_grown(os.getpid(), tmp_path)
    note(tmp_path, counter)
    counter.write_text(words.format(4))
    assert has_grown(os.getpid(), tmp_path)
    assert not has_grown(os.getpid(), tmp_path), "the note of a process that is gone is taken away"


@pytest.mark.parametrize(
    ("membership", "counter"),
    [
        ("3:cpu:/\n4:memory:/pod/7\n0::/", "memory/pod/7/memory.oom_control"),
        ("4:hugetlb,memory:/elsewhere\n0::/", "memory/memory.oom_control"),
        ("0::/user.slice/a:b", "user.slice/a:b/memory.events"),
        ("0::/", None),
        ("1:name=systemd:/", None),
    ],
)
def test_where_the_kernel_counts(tmp_path: Path, membership: str, counter: str | None) -> None:
    for path in ("memory/pod/7/memory.oom_control", "memory/memory.oom_control", "user.slice/a:b/memory.events"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("oom_kill 0\n")
    (tmp_path / "membership").write_text(membership)
    assert _counter(tmp_path / "membership", tmp_path) == (None if counter is None else tmp_path / counter)


def test_without_a_count_nothing_is_known(tmp_path: Path) -> None:
    assert _counter(tmp_path / "no-proc", tmp_path) is None
    note(tmp_path, tmp_path / "no-counter")
    assert not has_grown(os.getpid(), tmp_path)
    (tmp_path / "toprung-kills").mkdir(exist_ok=True)
    (tmp_path / "toprung-kills" / str(os.getpid())).touch()  # as a full disk leaves it
    assert not has_grown(os.getpid(), tmp_path)
    assert not was_killed("Ray says nothing of a process")


def test_a_note_that_can_t_be_written_harms_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    note(tmp_path / "file")


@pytest.mark.parametrize(("matters", "patience_s"), [(True, 15.0), (False, 3.0)])
def test_another_node_is_waited_for_as_long_as_its_answer_is_worth(
    monkeypatch: pytest.MonkeyPatch, matters: bool, patience_s: float
) -> None:
    class Look:
        """A stand-in for a task on a node that doesn't answer."""

        def __init__(self, **options: Any) -> None:
            assert options["resources"] == {"node:192.0.2.7": 0.001}

        def __call__(self, function: Any) -> Look:
            return self

        def remote(self, pid: int) -> Look:
            return self

    waited: list[float] = []

    def get(look: Look, timeout: float) -> bool:
        waited.append(timeout)
        raise GetTimeoutError

    monkeypatch.setattr(ray.util, "get_node_ip_address", lambda: "192.0.2.1")
    monkeypatch.setattr(ray, "remote", Look)
    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(ray, "cancel", lambda look: None)

    assert not was_killed("The actor is dead\n\tpid: 12\n\tip: 192.0.2.7", matters=matters)
    assert waited == [patience_s]
