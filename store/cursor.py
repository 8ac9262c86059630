"""Cursors: where a subscription stands in the log, as text that its owner keeps and gives back.

A cursor is opaque. It may be stored, compared for being the same, and passed to whoever reads the same log; nothing may
be computed from it, and its form may change as long as older ones are still read. What it leads to is final: no record
appears later behind a cursor that was handed out.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from perdure.events.errors import InvalidRequest

START: Final = ""
"""The cursor before the first record of any log."""

_FORM: Final = 1


def cursor_after(log_id: str, position: int) -> str:
    """The cursor behind the record at `position` of the log `log_id`."""
    if position == 0:
        return START
    body = b"%c%s%s" % (_FORM, _mark(log_id), position.to_bytes(8, "big").lstrip(b"\0"))
    return urlsafe_b64encode(body).rstrip(b"=").decode()


def position_of(log_id: str, cursor: str) -> int:
    """The position to read on after. Raises `InvalidRequest` for text that is no cursor, or one of another log."""
    if cursor == START:
        return 0
    try:
        body = urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    except ValueError:
        body = b""
    if len(body) < 6 or len(body) > 13 or body[0] != _FORM:
        raise InvalidRequest(
            "this is no cursor; give back one that was handed out, unchanged", field="after", value=cursor
        )
    if body[1:5] != _mark(log_id):
        raise InvalidRequest("this cursor belongs to another log; begin at its start", field="after", value=cursor)
    return int.from_bytes(body[5:], "big")


def _mark(log_id: str) -> bytes:
    """Four bytes of the log's id, so that a cursor is not taken to another log by mistake."""
    return bytes.fromhex(log_id.rpartition("_")[2][-8:])
