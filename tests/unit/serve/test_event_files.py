"""Event files, and the merging of what attempts wrote: read back record by record."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
from tensorboard.compat.proto.event_pb2 import Event
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c as by_bytes

from toprung.serve.tracking.crc import masked_crc32c
from toprung.serve.tracking.events import EventFile, Stamp
from toprung.serve.tracking.summaries import Summaries
from toprung.tuning.run.summaries import LENGTH, MARK

BEGAN = datetime(2026, 5, 1, tzinfo=UTC)


@given(st.integers(0, 9_000), st.binary(min_size=1, max_size=60))
@settings(max_examples=30)
def test_the_checksum_is_tensorboards_own(length: int, some: bytes) -> None:
    data = (some * length)[:length]
    assert masked_crc32c(data) == by_bytes(data)


def scalar(step: int, text: str = "x") -> Event:
    return Event(step=step, summary=Summary(value=[Summary.Value(tag=text, simple_value=step)]))


def steps_in(folder: Path) -> list[int]:
    events = [e for path in sorted(folder.iterdir()) for e in EventFileLoader(str(path)).Load()]
    return [event.step for event in events if event.summary.value]


def test_the_next_process_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        file = EventFile(tmp_path, BEGAN)
        assert file.steps.get(Stamp.RESULT, 0) == step - 1
        file.add(scalar(step), Stamp.RESULT)
        file.flush()

    assert steps_in(tmp_path) == [1, 2, 3]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("cut", [1, 20, 60])
def test_a_group_that_was_broken_off_is_gone_and_can_be_written_again(tmp_path: Path, cut: int) -> None:
    file = EventFile(tmp_path, BEGAN)
    file.add(scalar(1))
    file.add(scalar(1), Stamp.SUMMARIES)
    file.add(scalar(2))
    file.add(scalar(2), Stamp.SUMMARIES)
    file.flush()
    (path,) = tmp_path.iterdir()
    os.truncate(path, path.stat().st_size - cut)  # as when its process is killed while it writes

    again = EventFile(tmp_path, BEGAN)
    assert again.steps[Stamp.SUMMARIES] == 1
    again.add(scalar(2))
    again.add(scalar(2), Stamp.SUMMARIES)
    again.flush()

    assert steps_in(tmp_path) == [1, 1, 2, 2]


@pytest.mark.parametrize("left", [0, 7])
def test_a_last_part_that_never_came_to_a_group_costs_nothing(tmp_path: Path, left: int) -> None:
    """As when the disk was full, or the process killed, at its first byte."""
    file = EventFile(tmp_path, BEGAN)
    file.add(scalar(1), Stamp.RESULT)
    file.flush()
    (first,) = tmp_path.iterdir()
    first.with_suffix(".0001").write_bytes(b"x" * left)

    for step in (2, 3):
        again = EventFile(tmp_path, BEGAN)
        assert again.steps[Stamp.RESULT] == step - 1
        again.add(scalar(step), Stamp.RESULT)
        again.flush()

    assert steps_in(tmp_path) == [1, 2, 3]


class Attempts:
    """What the attempts of a trial have sent so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "swp_1"
        self.folder.mkdir()

    def place(self, attempt: int) -> Path:
        return self.folder / f"7-{attempt}"

    def send(self, attempt: int, *what: str | int) -> None:
        """Events by their text, marks by their step."""
        with self.place(attempt).open("ab") as file:
            for each in what:
                if isinstance(each, int):
                    file.write(LENGTH.pack(MARK | LENGTH.size) + LENGTH.pack(each))
                else:
                    file.write(LENGTH.pack(len(each)) + each.encode())


def taken(summaries: Summaries, attempt: int) -> list[str]:
    return [f"{step}:{b' '.join(events).decode()}" for step, events in summaries.take(attempt)]


@pytest.fixture
def attempts(tmp_path: Path) -> Attempts:
    return Attempts(tmp_path)


def test_a_step_is_taken_when_it_is_whole(attempts: Attempts) -> None:
    summaries = Summaries(attempts.place)
    assert taken(summaries, 1) == []
    attempts.send(1, "setup", 0, "a", "b", 1, "c")
    assert taken(summaries, 1) == ["0:setup", "1:a b"]
    attempts.send(1, "d", 4)
    assert taken(summaries, 1) == ["4:c d"]


def test_what_a_later_attempt_does_again_is_left_out(attempts: Attempts) -> None:
    summaries = Summaries(attempts.place)
    attempts.send(1, "setup", 0, "a1", 1, "a2", 2, "a3", 3, "broken off")
    attempts.send(2, "setup again", 1, "b2", 2, "b3", 3, "b4", 4)

    assert taken(summaries, 1) == ["0:setup", "1:a1", "2:a2", "3:a3"]
    assert taken(summaries, 3) == ["4:b4"], "the third has written nothing"
    attempts.send(1, "late", 9)
    attempts.send(4, "d5", 5)
    assert taken(summaries, 4) == ["5:d5"], "nobody listens to the first any more"


def test_after_a_restart_it_goes_on_behind_what_was_taken(attempts: Attempts) -> None:
    attempts.send(1, "a1", 1, "a2", 2)
    attempts.send(2, "b2", 2, "b3", 3)
    assert taken(Summaries(attempts.place, taken=2), 2) == ["3:b3"]


def test_the_files_go_when_nothing_more_comes(attempts: Attempts) -> None:
    summaries = Summaries(attempts.place)
    attempts.send(1, "a", 1)
    attempts.send(3, "c", 2)
    assert taken(summaries, 3) == ["1:a", "2:c"]
    summaries.remove()
    assert not attempts.folder.exists()
