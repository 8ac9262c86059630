"""Answers, without I/O: an application's messages to the bytes of an HTTP/1.1 response.

Also the server's own short answers. Those are written without h11, because its state machine may be what has just
refused to go on; they always end the connection.
"""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

import h11

from perdure.adapters.server.errors import ApplicationFault

_REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
_BODYLESS = frozenset({204, 304})


def refusal(status: int, *, head_only: bool = False) -> bytes:
    """A whole response that says only its status, and that the connection ends."""
    reason = _REASONS.get(status, b"Error")
    body = reason + b"\n"
    return b"HTTP/1.1 %d %s\r\ncontent-type: text/plain\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%s" % (
        status,
        reason,
        len(body),
        b"" if head_only else body,
    )


class Answer:
    """One response in the making: `start`, then `body` until it is `complete`. Raises `ApplicationFault`.

    The head is held back until the first body message, as ASGI asks, so that an application that fails in between can
    still be answered for with 500, and so that a short answer is one piece. An empty body with `more` sends the head.
    """

    __slots__ = ("_bodyless", "_http", "_response", "complete", "started")

    def __init__(self, http: h11.Connection, method: bytes) -> None:
        self._http = http
        self._bodyless = method == b"HEAD"
        self._response: h11.Response | None = None
        self.started = False
        self.complete = False

    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]], *, date: bytes, close: bool) -> None:
        """Take the head. `close` announces that the connection ends with this answer."""
        if self._response is not None:
            raise ApplicationFault("the application started its answer twice; send one http.response.start")
        lines = [(b"date", date), *headers]
        if close:
            lines.append((b"connection", b"close"))
        try:
            self._response = h11.Response(status_code=status, headers=lines, reason=_REASONS.get(status, b""))
        except (h11.LocalProtocolError, TypeError, ValueError) as error:
            raise ApplicationFault(f"the application's head is not valid: {error}") from error
        if status in _BODYLESS:
            self._bodyless = True

    def body(self, data: bytes, *, more: bool) -> list[bytes]:
        """The bytes to send for the next part of the body; nothing is changed for the peer when this raises."""
        if self._response is None:
            raise ApplicationFault("the application sent a body before http.response.start")
        if self.complete:
            raise ApplicationFault("the application sent a body after its last one; set more_body")
        http = self._http
        pieces: list[bytes] = []
        try:
            if not self.started:
                pieces.append(http.send(self._response))
            if data and not self._bodyless:
                pieces.extend(http.send_with_data_passthrough(h11.Data(data=data)) or ())
            if not more:
                pieces.append(http.send(h11.EndOfMessage()))
        except h11.LocalProtocolError as error:
            raise ApplicationFault(f"the application's answer breaks HTTP: {error}") from error
        self.started = True
        self.complete = not more
        return pieces

    @property
    def event_stream(self) -> bool:
        """Whether this is a stream of server-sent events: the one kind of answer that can end at any time."""
        return self._response is not None and any(
            name == b"content-type" and value.lower().startswith(b"text/event-stream")
            for name, value in self._response.headers
        )
