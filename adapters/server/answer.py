"""Answers, without I/O: an application's messages to the bytes of an HTTP/1.1 response, and the server's own.

h11 reads requests but writes no answers: its events are checked, copied and run through its state machine several
times, which cost a short answer a fifth of its time. What must not be lost with it: no application can put a line break
into a head, a body is as long as its head says, and a peer can always tell where an answer ends (RFC 9112, section 6).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus

from perdure.adapters.server.errors import ApplicationFault
from perdure.adapters.server.head import Headers, has_token

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_REASONS = {status.value: status.phrase.encode("ascii") for status in HTTPStatus}
_STATUS_LINES = {status: b"HTTP/1.1 %d %s\r\n" % (status, reason) for status, reason in _REASONS.items()}
_NO_CONTENT = 204
_BODYLESS = frozenset({_NO_CONTENT, 304})
_is_name = re.compile(rb"[-!#$%&'*+.^_`|~0-9A-Za-z]+").fullmatch  # RFC 9110, 5.6.2
_is_value = re.compile(rb"(?:[!-~\x80-\xff]+(?:[ \t]+[!-~\x80-\xff]+)*)?").fullmatch  # RFC 9110, 5.5
_is_length = re.compile(rb"[0-9]{1,19}").fullmatch


def write_head(status: int, headers: Headers) -> bytes:
    """A response's head. Raises `ApplicationFault` for a name or a value that HTTP does not allow."""
    parts = [_STATUS_LINES.get(status) or b"HTTP/1.1 %d \r\n" % status]
    for name, value in headers:
        if not (_is_name(name) and _is_value(value)):
            raise ApplicationFault(f"the application's header {name!r}: {value!r} is not valid in HTTP")
        parts += (name, b": ", value, b"\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


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

    Attributes: `started` (its head is on the way), `complete`, `closing` (the connection ends with it), `event_stream`
    (it is a stream of server-sent events: the one kind of answer that can end at any time).
    """

    __slots__ = (
        "_bodyless",
        "_chunked",
        "_head",
        "_left_bytes",
        "_old",
        "closing",
        "complete",
        "event_stream",
        "started",
    )

    def __init__(self, *, head_only: bool = False, old: bool = False, closing: bool = False) -> None:
        """`head_only`: the request was HEAD; `old`: the peer speaks HTTP/1.0 and knows no chunks."""
        self._bodyless = head_only
        self._old = old
        self._head: bytes | None = None
        self._chunked = False
        self._left_bytes: int | None = None  # of the length that the head declares
        self.closing = closing
        self.event_stream = False
        self.started = False
        self.complete = False

    def start(self, status: int, headers: Iterable[tuple[bytes, bytes]], *, date: bytes, close: bool) -> None:
        """Take the head. `close` announces that the connection ends with this answer.

        How the body is framed and whether the connection stays are the server's to say: a `transfer-encoding` is
        ignored, as ASGI has it, and of `connection` only `close` is heeded. A `date` of the application's own is kept.
        """
        if self._head is not None:
            raise ApplicationFault("the application started its answer twice; send one http.response.start")
        try:
            self._take_head(status, headers, date, closing=self.closing or close)
        except (TypeError, ValueError, AttributeError) as error:
            raise ApplicationFault(f"the application's head is not valid: {error}") from error

    def _take_head(self, status: int, headers: Iterable[tuple[bytes, bytes]], date: bytes, *, closing: bool) -> None:
        if not 200 <= status <= 999:
            raise ValueError(f"{status} is no status of an answer (200 to 999)")
        bodyless = self._bodyless or status in _BODYLESS
        length: int | None = None
        event_stream = dated = False
        lines: Headers = []
        for name, value in headers:
            known = name.lower()
            if known == b"content-length":
                if not _is_length(value) or length not in (None, int(value)):
                    raise ValueError(f"its content-length is {value!r}")
                if length is None and status != _NO_CONTENT:
                    lines.append((name, value))
                length = int(value)
                continue
            if known == b"transfer-encoding":
                continue
            if known == b"connection":
                closing = closing or has_token(value, b"close")
                continue
            if known == b"content-type":
                event_stream = value.lower().startswith(b"text/event-stream")
            elif known == b"date":
                dated = True
            lines.append((name, value))
        if not dated:
            lines.append((b"date", date))
        chunked = length is None and status not in _BODYLESS and not self._old
        if chunked:
            lines.append((b"transfer-encoding", b"chunked"))
        elif length is None and not bodyless:
            closing = True  # where the body ends is where the connection does
        if closing:
            lines.append((b"connection", b"close"))
        self._head = write_head(status, lines)
        self._bodyless = bodyless
        self._chunked = chunked
        self._left_bytes = length
        self.closing = closing
        self.event_stream = event_stream

    def body(self, data: bytes, *, more: bool) -> list[bytes]:
        """The bytes to send for the next part of the body; nothing is changed when this raises."""
        if self._head is None:
            raise ApplicationFault("the application sent a body before http.response.start")
        if self.complete:
            raise ApplicationFault("the application sent a body after its last one; set more_body")
        pieces = [] if self.started else [self._head]
        if self._bodyless:
            pass
        elif self._chunked:
            if data:
                pieces += (b"%x\r\n" % len(data), data, b"\r\n")
            if not more:
                pieces.append(b"0\r\n\r\n")
        else:
            if self._left_bytes is not None:
                left_bytes = self._left_bytes - len(data)
                if left_bytes < 0 or (left_bytes > 0 and not more):
                    raise ApplicationFault("the application's body is not as long as the content-length it declared")
                self._left_bytes = left_bytes
            if data:
                pieces.append(data)
        self.started = True
        self.complete = not more
        return pieces
