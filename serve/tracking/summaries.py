"""What the attempts of a trial have written for TensorBoard, each step once.

How it comes is told in `toprung.tuning.run.summaries`: pieces that end with the step they belong to. As with
results, what comes first counts. An attempt that goes on from an older checkpoint makes steps again that the last one
had made; what it writes there is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from toprung.tuning.run.summaries import LENGTH, MARK

Place = Callable[[int], Path]
"""Where what an attempt has sent lies."""


class Summaries:
    """Those of one trial.

    Args:
        place: of an attempt's.
        taken: the last step that was taken before; -1 for none.
    """

    def __init__(self, place: Place, taken: int = -1) -> None:
        self._place = place
        self._taken = taken
        self._attempt, self._offset = 1, 0

    def take(self, attempt: int) -> Iterator[tuple[int, list[bytes]]]:
        """What has come of whole steps since the last time, up to this attempt: the step, its events."""
        while True:
            yield from self._of_attempt()
            if self._attempt >= attempt:
                return
            self._attempt, self._offset = self._attempt + 1, 0

    def remove(self) -> None:
        """The files, when nothing more comes."""
        for attempt in range(1, self._attempt + 1):
            self._place(attempt).unlink(missing_ok=True)
        with suppress(OSError):  # of other trials, or gone
            self._place(1).parent.rmdir()

    def _of_attempt(self) -> Iterator[tuple[int, list[bytes]]]:
        try:
            with self._place(self._attempt).open("rb") as file:
                file.seek(begin := self._offset)
                data = file.read()
        except FileNotFoundError:  # it wrote nothing
            return
        events: list[bytes] = []
        start = 0
        while start + LENGTH.size <= len(data):
            (length,) = LENGTH.unpack_from(data, start)
            end = start + LENGTH.size + (length & ~MARK)
            if end > len(data):
                return
            body, start = data[start + LENGTH.size : end], end
            if not length & MARK:
                events.append(body)
                continue
            self._offset = begin + end
            (step,) = LENGTH.unpack(body)
            if step > self._taken:
                self._taken = step
                yield step, events
            events = []
