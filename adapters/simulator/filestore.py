"""The files of one simulated provider: bytes on disk, a row for each, an entry on the account.

Providers differ in how they show a file and what they refuse; what a file is here they share. Bytes go from the socket
to the disk and back in pieces; a file is on the account from the moment at which it exists.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from msgspec import Struct, json
from msgspec.structs import replace

from perdure.adapters.simulator.account import Purchase, record_purchase
from perdure.adapters.simulator.download import Download
from perdure.adapters.simulator.multipart import ReceivedPart
from perdure.adapters.simulator.storage import Page, Tables
from perdure.adapters.simulator.world import World


class KeptFile(Struct, frozen=True):
    """A file. Times are in seconds since 1970 by the simulator's clock; `expires_at` None: it lives until deleted.

    `tag` is what its list can be filtered by (OpenAI's purpose), `lines` how many lines it has, `sha256` the digest of
    its bytes in hex; `generated`: nobody uploaded it.
    """

    id: str
    filename: str
    size_bytes: int
    mime_type: str
    created_at: float
    expires_at: float | None
    tag: str
    lines: int
    sha256: str
    generated: bool = False


_decode: Final = json.Decoder(KeptFile).decode


class FileStore:
    """The files of one provider.

    Args:
        provider: the name on the account.
        id_prefix: how ids begin.
        shows_expired: whether a file whose time is over can still be read about; its bytes are gone for clients all
            the same.
        kind: under which they are kept and listed, where a provider has more than one kind of them.
    """

    def __init__(
        self, world: World, *, provider: str, id_prefix: str, shows_expired: bool = False, kind: str = ""
    ) -> None:
        self._world = world
        self.provider = provider
        self._id_prefix = id_prefix
        self._shows_expired = shows_expired
        self.kind = kind or f"{provider}-file"

    def add(
        self,
        tables: Tables,
        part: ReceivedPart,
        source: Path,
        *,
        life_s: float | None,
        tag: str = "",
        bought: bool = True,
        mime_type: str = "",
        generated: bool = False,
    ) -> KeptFile:
        """Makes a file of the bytes at `source`, which must be whole, and moves them to their place.

        `life_s` is how long it lives, in seconds, None for ever. `bought`: a client stored it, so it goes on the
        account with its filename as identity; by-products, such as a batch's output, do not. `mime_type`: instead of
        the one that came with the part. `generated`: the provider made it, and gives it out.
        """
        now = self._world.clock.now()
        file = KeptFile(
            id=self._world.new_id(tables, self._id_prefix),
            filename=part.filename,
            size_bytes=part.size_bytes,
            mime_type=mime_type or part.mime_type,
            created_at=now,
            expires_at=None if life_s is None else now + life_s,
            tag=tag,
            lines=part.lines,
            sha256=part.sha256,
            generated=generated,
        )
        os.replace(source, self._world.path(file.id))
        tables.add(self.kind, file.id, json.encode(file), tag=tag, until=self._until(file))
        if bought:
            purchase = Purchase(self.provider, "file", file.id, file.filename, 1, now, file.sha256)
            record_purchase(tables, purchase)
        return file

    def generate(
        self, tables: Tables, part: ReceivedPart, source: Path, *, name: str, mime_type: str, tag: str = ""
    ) -> KeptFile:
        """Makes a file that nobody uploaded, as hosted tools do. `name` is what it is called."""
        named = replace(part, filename=name)
        return self.add(tables, named, source, life_s=None, tag=tag, bought=False, mime_type=mime_type, generated=True)

    def find(self, tables: Tables, id_: str) -> KeptFile | None:
        """The file with this id, if it can be read about now."""
        doc = tables.get(self.kind, id_, self._world.clock.now())
        return None if doc is None else _decode(doc)

    def is_expired(self, file: KeptFile) -> bool:
        """Whether its time is over."""
        return file.expires_at is not None and self._world.clock.now() >= file.expires_at

    def listed(self, page: Page) -> list[KeptFile]:
        """The files on a page of the list of `kind`."""
        return [_decode(doc) for doc in page.docs]

    def expire(self, tables: Tables, id_: str) -> bool:
        """Ends a file's time now; whether there is such a file."""
        file = self.find(tables, id_)
        if file is None:
            return False
        ended = replace(file, expires_at=self._world.clock.now())
        tables.replace(file.id, json.encode(ended))
        if not self._shows_expired:
            tables.remove(file.id)
        return True

    async def read(self, id_: str) -> KeptFile | None:
        """As `find`, in a transaction of its own."""
        return await self._world.storage.run(lambda tables: self.find(tables, id_))

    async def delete(self, id_: str) -> bool:
        """Deletes a file; whether there was one."""

        def delete(tables: Tables) -> str:
            file = self.find(tables, id_)
            if file is None:
                return ""
            tables.remove(file.id)
            return file.id

        deleted = await self._world.storage.run(delete)
        if deleted:
            await self._world.storage.bulk(lambda: self._world.path(deleted).unlink(missing_ok=True))
        return bool(deleted)

    def download(self, file: KeptFile, *, content_type: str = "application/octet-stream") -> Download:
        """The answer that holds its bytes."""
        headers = {
            "content-type": content_type,
            "content-disposition": f'attachment; filename="{_plain(file.filename)}"',
        }
        return Download(self._world.path(file.id), file.size_bytes, self._world.storage, headers=headers)

    def kept(self, tables: Tables) -> set[str]:
        """The names of all bytes that belong to files."""
        return tables.ids(self.kind, self._world.clock.now())

    def _until(self, file: KeptFile) -> float | None:
        return None if self._shows_expired else file.expires_at


def _plain(filename: str) -> str:
    return "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "_" for c in filename)
