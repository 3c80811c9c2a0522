"""Server-sent events, as in the WHATWG HTML standard, section 9.2: what the client needs of it."""

from __future__ import annotations

import codecs
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Message:
    id: str
    """Last id seen in the stream, "" before the first."""
    type: str
    data: str


class SseParser:
    """Turns chunks, cut anywhere, into messages; what is incomplete at the end of the stream is dropped."""

    def __init__(self) -> None:
        # The incremental decoder holds back half a character, the newline decoder a CR that may belong to a CRLF.
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
        self._line = ""
        self._after_cr = False
        self._id = ""
        self._type = ""
        self._data: list[str] = []

    def feed(self, chunk: bytes) -> list[Message]:
        """The messages that `chunk` completes."""
        messages = []
        for line in self._lines(self._decoder.decode(chunk)):
            if line:
                self._field(line)
            elif (message := self._dispatch()) is not None:
                messages.append(message)
        return messages

    def _lines(self, text: str) -> list[str]:
        if self._after_cr and text:
            text = text.removeprefix("\n")
            self._after_cr = False
        self._after_cr = self._after_cr or text.endswith("\r")
        # str.splitlines would also split at characters that JSON strings may hold, such as U+2028
        *lines, self._line = (self._line + text).replace("\r\n", "\n").replace("\r", "\n").split("\n")
        return lines

    def _field(self, line: str) -> None:
        name, _, value = line.partition(":")  # a comment's name is empty
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value

    def _dispatch(self) -> Message | None:
        data, self._data = self._data, []
        kind, self._type = self._type, ""
        return Message(self._id, kind or "message", "\n".join(data)) if data else None
