"""An answer whose body is a file, read and sent piece by piece."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from perdure.adapters.simulator.storage import Storage

PIECE_BYTES: Final = 256 << 10


class Download(Response):
    """Sends the file at `path`, of `size_bytes` bytes. The file is closed when the client leaves in the middle, too.

    Starlette's `StreamingResponse` would leave that to the garbage collector.
    """

    def __init__(self, path: Path, size_bytes: int, storage: Storage, *, headers: Mapping[str, str]) -> None:
        super().__init__(None, headers={**headers, "content-length": str(size_bytes)})
        self._path = path
        self._storage = storage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the answer. What `send` raises comes out."""
        file = await self._storage.bulk(lambda: self._path.open("rb"))
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            more = True
            while more:
                piece = await self._storage.bulk(lambda: file.read(PIECE_BYTES))
                more = bool(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": more})
        finally:
            file.close()
