"""Waiting for room on a disk."""

from __future__ import annotations

import errno
import os

import pytest

from toprung.tuning.run import room


class Disk:
    """Has no room the first times that it is written to."""

    def __init__(self, *errors: int) -> None:
        self._errors = list(errors)

    def __call__(self) -> str:
        if self._errors:
            number = self._errors.pop(0)
            raise OSError(number, os.strerror(number))
        return "written"


def test_what_finds_no_room_is_tried_until_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    naps: list[float] = []
    monkeypatch.setattr("time.sleep", naps.append)
    said: list[str] = []

    assert room.once_there_is_room(Disk(errno.ENOSPC, errno.EDQUOT), said.append) == "written"

    assert len(naps) == 2
    assert said == ["the disk is full, waiting for room: [Errno 28] No space left on device"]


def test_other_errors_are_not_waited_out() -> None:
    with pytest.raises(PermissionError):
        room.once_there_is_room(Disk(errno.EACCES), print)


def test_a_store_that_does_not_answer_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.sleep", lambda _: None)
    told = ["When uploading part: AWS Error NETWORK_CONNECTION during UploadPart operation: curlCode: 7"]
    said: list[str] = []

    def write() -> str:
        if told:
            raise OSError(told.pop())  # as Arrow has it, without a number
        return "written"

    assert room.once_there_is_room(write, said.append) == "written"
    assert said[0].startswith("the storage does not answer, waiting for it: When uploading part")
