"""Whole request bodies, in bounded memory."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

from starlette.requests import Request

MAX_BODY_BYTES: Final = 64 << 20
"""The longest JSON body that is read, in bytes. A guard of the simulator's own; providers' limits are beside it."""


class BodyTooLong(Exception):
    """A body is longer than `limit` bytes."""

    def __init__(self, limit: int) -> None:
        super().__init__(f"the body is longer than {limit} bytes")
        self.limit = limit


async def read_whole(request: Request, *, max_bytes: int = MAX_BODY_BYTES) -> bytes:
    """The whole body. Raises `BodyTooLong` as soon as it is."""
    body = bytearray()
    async with aclosing(request.stream()) as chunks:
        async for chunk in chunks:
            body += chunk
            if len(body) > max_bytes:
                raise BodyTooLong(max_bytes)
    return bytes(body)
