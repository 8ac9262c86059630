"""Files as cases for sweeps: stored, put at providers of two kinds, put there again, deleted everywhere."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import trio

from perdure.events.messages import FileReference
from perdure.store.crash_points import CRASH_POINTS
from tests.actors.file.memory import CHUNK_BYTES, World
from tests.actors.file.rig import Cabinet, filing
from tests.actors.living import EPOCH_US
from tests.faults.simulated import seeded_ids
from tests.faults.sweep import Case
from tests.faults.sweep import World as Life
from tests.store.blobs.looking import stored

CONTENT: Final = b"%PDF-1.7 " + bytes(range(250)) * 10
DIGEST: Final = hashlib.sha256(CONTENT).hexdigest()
STORING: Final = frozenset(point for point in CRASH_POINTS if point.startswith(("blob.", "commit.")))
"""The crash points that a file passes on its way to the store; on its way to a provider it passes all."""


async def pieces() -> AsyncIterator[bytes]:
    """The content as a stream of unknown length."""
    for start in range(0, len(CONTENT), 600):
        await trio.lowlevel.checkpoint()
        yield CONTENT[start : start + 600]


class StoredFile(Case):
    """One file under a key, uploaded at each start as a user's program does."""

    def __init__(self) -> None:
        self.world = World(answer_s=1.0)
        self.file: FileReference | None = None
        self.deaths = -1

    async def live(self, world: Life) -> None:
        """Uploads it and does with it what the case is about."""
        self.world.alive = world.act
        self.deaths += 1
        self.world.life += 1
        ids = seeded_ids(world.seed, EPOCH_US)
        async with filing(world.directory / "p.db", self.world, disk=world.disk, ids=ids) as cabinet:
            if self.file is None:
                self.file = await cabinet.files.upload(pieces(), key="k", ttl_s="persistent", filename="a.pdf")
            await self.use(cabinet, self.file)
            await cabinet.settled(self.file)

    async def use(self, cabinet: Cabinet, file: FileReference) -> None:
        """Nothing more."""

    async def check(self, world: Life) -> None:
        """The file is there once with its bytes, or gone with them; no provider has anything twice."""
        self.world.alive = lambda: None
        assert self.file is not None
        async with filing(world.directory / "p.db", self.world) as cabinet:
            listed = [info.id async for info in cabinet.files.list()]
            assert len(self.world.names) == len(set(self.world.names)), self.world.names
            stored = [name for name, _ in self.world.account]
            assert len(stored) == len(set(stored)), "each identity was stored once"
            assert all(digest == DIGEST for _, digest in self.world.account), "and whole"
            await cabinet.sweep()
            await self.judge(cabinet, self.file, listed)
            await cabinet.verify()
            assert _blobs(world.directory) == ({DIGEST} if listed else set()), "a blob that nobody names is swept"

    async def judge(self, cabinet: Cabinet, file: FileReference, listed: list[str]) -> None:
        """Asserts what this case is about."""
        assert listed == [file.id]
        assert await cabinet.content(file) == CONTENT


class PushedFile(StoredFile):
    """One file that is put at a provider."""

    def __init__(self, provider: str) -> None:
        super().__init__()
        self.provider = provider

    async def use(self, cabinet: Cabinet, file: FileReference) -> None:
        """Puts it there."""
        await cabinet.files.ensure(file, provider=self.provider)

    async def judge(self, cabinet: Cabinet, file: FileReference, listed: list[str]) -> None:
        """It is there once; a resumed upload sends less than one chunk again for each death."""
        await super().judge(cabinet, file, listed)
        assert self.world.names == [f"log-{file.id}-0.pdf"]
        (copy,) = (await cabinet.files.info(file)).copies
        assert (copy.status, copy.reference) == ("uploaded", next(iter(self.world.files.values())).reference)
        if self.provider == "resumable":
            assert self.world.sent_bytes <= len(CONTENT) + self.deaths * CHUNK_BYTES
            assert len(self.world.sessions) <= 1 + self.deaths


class ExpiringFile(PushedFile):
    """The same, and there again after the provider's time for it is over."""

    def __init__(self, provider: str) -> None:
        super().__init__(provider)
        self.world.lifetime_s = 3_600.0

    async def use(self, cabinet: Cabinet, file: FileReference) -> None:
        """Puts it there, waits, puts it there again."""
        await super().use(cabinet, file)
        if (await cabinet.state_of(file)).next_ordinal == 1:
            await trio.sleep(3_600.0)
            await super().use(cabinet, file)

    async def judge(self, cabinet: Cabinet, file: FileReference, listed: list[str]) -> None:
        """It was there twice, under an identity of its own each time."""
        await StoredFile.judge(self, cabinet, file, listed)
        assert [name for name, _ in self.world.account] == [f"log-{file.id}-{ordinal}.pdf" for ordinal in range(2)]


class DeletedFile(PushedFile):
    """The same, deleted everywhere while a second provider is being sent it."""

    async def use(self, cabinet: Cabinet, file: FileReference) -> None:
        """Puts it at one provider, begins with another, deletes it."""
        if (await cabinet.state_of(file)).life == "kept":
            await super().use(cabinet, file)
            await cabinet.files.push(file, provider=self.provider, credential="other")
            await trio.sleep(0.5)
        await cabinet.files.delete(file, everywhere=True)

    async def judge(self, cabinet: Cabinet, file: FileReference, listed: list[str]) -> None:
        """Nobody has it any more."""
        assert listed == []
        assert self.world.files == {}
        state = await cabinet.state_of(file)
        assert (state.life, state.released, state.deletions) == ("deleted", True, [])


def _blobs(directory: Path) -> set[str]:
    root = directory / "p.db-blobs"
    assert [path for path in (root / "tmp").rglob("*") if path.is_file()] == []
    return stored(root)
