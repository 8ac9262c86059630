"""A request's body, without I/O: what the peer sends in, parts of the body out.

A body of declared length is only counted; chunks are h11's to take apart, which copies each byte several times. What
comes behind the body is left in h11's buffer, where the connection finds it.
"""

from __future__ import annotations

import h11

from perdure.adapters.server.head import Head


class Body:
    """The body behind `head`, whose reader `http` may hold its beginning already.

    Attributes: `ended` (all of it has been taken), `size_bytes` (of what has been taken).
    """

    __slots__ = ("_http", "_left_bytes", "_part", "ended", "size_bytes")

    def __init__(self, http: h11.Connection, head: Head) -> None:
        self._http = http
        self._left_bytes = head.content_length  # None: it comes in chunks
        self._part = b""
        self.ended = not head.has_body
        self.size_bytes = 0
        if self._left_bytes:
            event = http.next_event()
            if isinstance(event, h11.Data):
                self._part = bytes(event.data)

    def feed(self, data: bytes) -> None:
        """Bytes from the peer; `take` all that there is before."""
        if self._left_bytes is None:
            self._http.receive_data(data)
            return
        self._part = data[: self._left_bytes]
        if rest := data[self._left_bytes :]:
            self._http.receive_data(rest)

    def take(self) -> bytes:
        """The next part, empty when there is none yet or no more. Raises `h11.RemoteProtocolError` at a wrong chunk."""
        if self._left_bytes is None:
            part = self._chunks()
        else:
            part, self._part = self._part, b""
            self._left_bytes -= len(part)
            self.ended = not self._left_bytes
        self.size_bytes += len(part)
        return part

    def _chunks(self) -> bytes:
        parts: list[bytes] = []
        while not self.ended:
            event = self._http.next_event()
            if isinstance(event, h11.Data):
                parts.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                self.ended = True
            else:
                break
        return b"".join(parts)
