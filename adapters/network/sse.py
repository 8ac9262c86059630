"""Server-sent events as a sans-IO parser: bytes in, events out (WHATWG HTML, 9.2, as of 2026).

It knows no socket and no provider. `SseParser` takes pieces of a body cut anywhere; `events_of` drives it over an
answer's body. Comments are dropped, and so is the end mark `[DONE]` that OpenAI's dialect sends as data.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from msgspec import Struct

from perdure.actors.fetch import Unknown

_END_MARK: Final = "[DONE]"

MAX_EVENT_BYTES: Final = 16 * 1024 * 1024
"""The largest event that is held: a base64 image of 12 MB; a peer that never ends a line is cut off here."""


class SseEvent(Struct, frozen=True):
    """One event. `event` is "message" where the peer names none; `id` is the last one seen; `retry_ms` if it was set
    with this event."""

    data: str
    event: str = "message"
    id: str = ""
    retry_ms: int | None = None


class SseParser:
    """Feed it bytes; it returns the events that they complete. An event cut off by the end of the body is dropped, as
    the standard says."""

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max = max_event_bytes
        self._rest = bytearray()
        self._after_cr = False
        self._first = True
        self._size = 0
        self._data: list[str] = []
        self._event = ""
        self._id = ""
        self._retry_ms: int | None = None

    def feed(self, chunk: bytes) -> list[SseEvent]:
        """Events that end within `chunk`. Raises `Unknown` when an event is larger than allowed."""
        found: list[SseEvent] = []
        if self._after_cr and chunk:
            # A line that ended in CR at the very end of the last chunk: a LF right after it belongs to it.
            self._after_cr = False
            if chunk.startswith(b"\n"):
                chunk = chunk[1:]
        searched = len(self._rest)
        self._rest += chunk
        start = 0
        while (end := _line_end(self._rest, max(start, searched))) >= 0:
            after = end + 1
            if self._rest[end] == 0x0D:
                if after == len(self._rest):
                    self._after_cr = True
                elif self._rest[after] == 0x0A:
                    after += 1
            event = self._line(bytes(self._rest[start:end]))
            if event is not None:
                found.append(event)
            start = after
        del self._rest[:start]
        if self._size + len(self._rest) > self._max:
            raise Unknown(f"a server-sent event is larger than {self._max} bytes; the stream cannot be followed")
        return found

    def _line(self, raw: bytes) -> SseEvent | None:
        if self._first:
            self._first = False
            raw = raw.removeprefix(b"\xef\xbb\xbf")
        if not raw:
            return self._dispatch()
        self._size += len(raw)
        line = raw.decode("utf-8", errors="replace")
        name, colon, value = line.partition(":")
        if colon:
            value = value.removeprefix(" ")
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self._id = value
            case "retry" if value.isascii() and value.isdigit():
                self._retry_ms = int(value)
            case _:
                pass  # a comment (no name) or a field that the standard does not know
        return None

    def _dispatch(self) -> SseEvent | None:
        data, event, retry_ms = self._data, self._event, self._retry_ms
        self._data, self._event, self._retry_ms, self._size = [], "", None, 0
        if not data or data == [_END_MARK]:
            return None
        return SseEvent("\n".join(data), event or "message", self._id, retry_ms)


class SseEvents:
    """The events of a body, read as they are asked for; not a generator, so leaving early leaves nothing open."""

    def __init__(self, chunks: AsyncIterator[bytes], parser: SseParser) -> None:
        self._chunks = chunks
        self._parser = parser
        self._ready: list[SseEvent] = []

    def __aiter__(self) -> AsyncIterator[SseEvent]:
        return self

    async def __anext__(self) -> SseEvent:
        """Does not checkpoint while events of the last chunk are left."""
        while not self._ready:
            self._ready = self._parser.feed(await anext(self._chunks))[::-1]
        return self._ready.pop()


def events_of(chunks: AsyncIterator[bytes]) -> SseEvents:
    """The events of `chunks`, such as `HttpStream.chunks()`. Raises what `chunks` raises."""
    return SseEvents(chunks, SseParser())


def _line_end(text: bytearray, start: int) -> int:
    newline = text.find(b"\n", start)
    carriage = text.find(b"\r", start, newline if newline >= 0 else len(text))
    return carriage if carriage >= 0 else newline
