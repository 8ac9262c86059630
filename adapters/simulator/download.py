"""An answer whose body is a file or bytes, or a range of either, read and sent piece by piece."""

from __future__ import annotations

import io
import re
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, Final

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from perdure.adapters.simulator.storage import Storage

PIECE_BYTES: Final = 256 << 10

_RANGE: Final = re.compile(r"bytes=(\d*)-(\d*)", re.IGNORECASE)


class Download(Response):
    """Sends the file at `source`, of `size_bytes` bytes, or the range of it that the request names (RFC 9110, 14.2).

    `source` may be the bytes themselves.

    The file is closed when the client leaves in the middle, too: Starlette's `StreamingResponse` would leave that to
    the garbage collector.
    """

    def __init__(self, source: Path | bytes, size_bytes: int, storage: Storage, *, headers: Mapping[str, str]) -> None:
        super().__init__(None, headers={**headers, "accept-ranges": "bytes"})
        self._source = source
        self._size_bytes = size_bytes
        self._storage = storage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the answer. What `send` raises comes out."""
        wanted = wanted_range(Headers(scope=scope).get("range", ""), self._size_bytes)
        first, left = 0, self._size_bytes
        if wanted is not None:
            first, left = wanted.start, len(wanted)
            self.status_code = 206 if left else 416
            told = f"{first}-{first + left - 1}" if left else "*"
            self.headers["content-range"] = f"bytes {told}/{self._size_bytes}"
        self.headers["content-length"] = str(left)
        file = await self._storage.bulk(self._open)
        try:
            await self._storage.bulk(lambda: file.seek(first))
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while left:
                piece = await self._storage.bulk(partial(file.read, min(left, PIECE_BYTES)))
                left -= len(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            file.close()

    def _open(self) -> IO[bytes]:
        return io.BytesIO(self._source) if isinstance(self._source, bytes) else self._source.open("rb")


def wanted_range(header: str, size_bytes: int) -> range | None:
    """Which bytes a `Range` header asks for, an empty range where there are none such; None: send the whole.

    A header of another form, such as one with several ranges, is as good as none.
    """
    said = _RANGE.fullmatch(header.strip())
    if said is None or said[0].endswith("=-"):
        return None
    if not said[1]:
        return range(max(size_bytes - int(said[2]), 0), size_bytes)
    first, last = int(said[1]), int(said[2]) if said[2] else size_bytes - 1
    if said[2] and last < first:
        return None
    return range(first, max(min(last + 1, size_bytes), first))
