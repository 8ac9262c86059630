"""An answer that is put together of bytes and of files, and sent piece by piece."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from perdure.adapters.simulator.download import PIECE_BYTES
from perdure.adapters.simulator.storage import Storage


class Stored(Struct, frozen=True):
    """A piece that is a whole file."""

    path: Path
    size_bytes: int


class Pieces(Response):
    """Sends its pieces one after another, as JSON. Of files a part is in memory at a time."""

    def __init__(self, pieces: Sequence[bytes | Stored], storage: Storage) -> None:
        super().__init__(None, media_type="application/json")
        self._pieces = pieces
        self._storage = storage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the answer. What `send` raises comes out."""
        size_bytes = sum(piece.size_bytes if isinstance(piece, Stored) else len(piece) for piece in self._pieces)
        self.headers["content-length"] = str(size_bytes)
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for piece in self._pieces:
            if isinstance(piece, Stored):
                await self._send_file(piece, send)
            else:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_file(self, piece: Stored, send: Send) -> None:
        file = await self._storage.bulk(lambda: piece.path.open("rb"))
        try:
            while part := await self._storage.bulk(partial(file.read, PIECE_BYTES)):
                await send({"type": "http.response.body", "body": part, "more_body": True})
        finally:
            file.close()
