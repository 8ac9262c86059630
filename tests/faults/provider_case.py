"""A file at the real file stores as cases for sweeps."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Final

import httpx
import trio

import perdure
from perdure.actors.file.asks import effects
from perdure.adapters.composition import blobs_beside
from perdure.adapters.simulator.faults import Fault
from perdure.adapters.simulator.routes import RoutePattern
from perdure.store.blobs import BlobStore
from perdure.store.disk import InlineDisk
from perdure.store.sqlite import open_log
from tests.faults.at_providers import HOST, KEY, AtProviders
from tests.faults.file_ways import WAYS
from tests.faults.sweep import World as Life

LISTS: Final = {
    "openai": "/openai/v1/files",
    "anthropic": "/anthropic/v1/files",
    "google": "/google/v1beta/files",
    "xai": "/xai/v1/files",
}
FRAME_BYTES: Final = 400
"""The most that a form puts around a part."""

TIMERS: Final = ("expire", "lapse")
"""What a file at rest still asks for."""


class PushedFile(AtProviders):
    """One file that is put at a provider in one of the `WAYS`."""

    def __init__(self, way: str, home: Path, *faults: Fault) -> None:
        super().__init__(home, *faults)
        self.way = WAYS[way]
        self.file: perdure.FileReference | None = None
        self.deaths = -1
        self._home = home

    # ------------------------------------------------------------ lives

    async def live(self, world: Life) -> None:
        """Uploads the file under a key, as a user's program does at each start, and does what the case is about."""
        self.deaths += 1
        async with self.serving(world) as service:
            if self.file is None:
                content, name = self.way.content, self.way.filename
                self.file = await service.files.upload(content, key="k", ttl_s="persistent", filename=name)
            await self.use(service, self.file)
            await self.settled(service, self.file)

    async def use(self, service: perdure.Service, file: perdure.FileReference) -> None:
        """Puts it there."""
        await service.files.ensure(file, provider=self.way.provider)

    async def settled(self, service: perdure.Service, file: perdure.FileReference) -> Any:
        """The state of the file once nothing is asked for but timers."""
        handle = await service.get(file.id)
        while True:
            state = await handle.state()
            if all(effect.id.startswith(TIMERS) for effect in effects(state)):
                return state
            await trio.sleep(1.0)

    # ------------------------------------------------------------ the end

    async def check(self, world: Life) -> None:
        """The file is there once with its bytes, or gone with them; no provider was ever given an identity twice."""
        assert self.file is not None
        bought = self.simulator.account.purchases(kind="file")
        identities = [purchase.identity for purchase in bought]
        assert len(identities) == len(set(identities)), f"stored twice: {identities}"
        digest = hashlib.sha256(self.way.content).hexdigest()
        assert {purchase.payload for purchase in bought} == {digest}, "what is there is whole"
        async with self.serving(world) as service:
            listed = [info.id async for info in service.files.list()]
            state = await self.settled(service, self.file)
            assert (state.anomalies, state.deletions) == (0, [])
            await self.judge(service, self.file, listed)
            (await service.log.verify()).raise_if_bad()
        assert self.simulator.account.purchases(kind="file") == bought, "nothing was left to do"
        assert await named_blobs(world.directory / "p.db") == len(listed), "a blob that nobody names is swept"
        assert self.simulator.faults.armed() == [], "every fault has struck"
        self.simulator.close()
        shutil.rmtree(self._home)

    async def judge(self, service: perdure.Service, file: perdure.FileReference, listed: list[str]) -> None:
        """Asserts what the case is about: there is one copy, whole, and little was sent twice."""
        await self.assert_kept(service, file, listed)
        assert await self.there() == [self.identity(0)]
        self.judge_traffic()

    async def assert_kept(self, service: perdure.Service, file: perdure.FileReference, listed: list[str]) -> None:
        """The file is listed, its bytes can be read, and its copy used."""
        assert listed == [file.id]
        async with aclosing(service.files.read(file)) as chunks:
            assert b"".join([chunk async for chunk in chunks]) == self.way.content
        copies = (await service.files.info(file)).copies
        assert [copy.status for copy in copies if copy.provider == self.way.provider] == ["uploaded"]

    def judge_traffic(self) -> None:
        """A resumed upload sends a chunk again at most for each death and each fault that struck it."""
        way = self.way
        if way.chunk_bytes:
            pieces, broken = -(-len(way.content) // way.chunk_bytes), self.deaths + len(self.faults)
            most = len(way.content) + broken * way.chunk_bytes + (pieces + broken) * FRAME_BYTES
            assert self.sent_bytes() <= most, (self.sent_bytes(), most)

    def sent_bytes(self) -> int:
        """How much of the file the provider was sent in all, with what frames its pieces."""
        seen = self.simulator.traffic.requests(RoutePattern(self.way.sends))
        return sum(one.body_bytes for one in seen if one.headers.get("x-goog-upload-command") != "start")

    def identity(self, ordinal: int) -> str:
        """How a copy is called at its provider."""
        assert self.file is not None
        extension = self.way.filename.rpartition(".")[2]
        (log_id,) = {one.identity.partition(f"-{self.file.id}-")[0] for one in self.simulator.account.purchases()}
        return f"{log_id}-{self.file.id}-{ordinal}.{extension}"

    async def there(self) -> list[str]:
        """The identities of what the provider has."""
        headers = {"authorization": f"Bearer {KEY}", "x-goog-api-key": KEY}
        if self.way.provider == "anthropic":
            headers = {"x-api-key": KEY, "anthropic-version": "2023-06-01", "anthropic-beta": "files-api-2025-04-14"}
        transport = httpx.ASGITransport(self.simulator.app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}", headers=headers) as http:
            answer = (await http.get(LISTS[self.way.provider])).raise_for_status().json()
        files = answer.get("files", ()) if self.way.provider == "google" else answer["data"]
        return sorted(file.get("displayName") or file["filename"] for file in files)


class ExpiredFile(PushedFile):
    """Put there, and there again after the provider's time for it is over."""

    async def use(self, service: perdure.Service, file: perdure.FileReference) -> None:
        """Puts it there, waits for two days, puts it there again."""
        await super().use(service, file)
        handle = await service.get(file.id)
        if (await handle.state()).next_ordinal == 1:
            await trio.sleep(48 * 3_600.0)
            await super().use(service, file)

    async def judge(self, service: perdure.Service, file: perdure.FileReference, listed: list[str]) -> None:
        """The second copy is there, under an identity of its own; the first may have ten minutes left."""
        await self.assert_kept(service, file, listed)
        assert set(await self.there()) - {self.identity(0)} == {self.identity(1)}
        assert len(self.simulator.account.purchases()) == 2


class LostFile(PushedFile):
    """Put there, taken away by the provider, and there again when a request has not found it."""

    def __init__(self, way: str, home: Path, *faults: Fault) -> None:
        super().__init__(way, home, *faults)
        self.lost = ""

    async def use(self, service: perdure.Service, file: perdure.FileReference) -> None:
        """Puts it there, has the provider lose it, says so; as often as it takes to be heard."""
        await super().use(service, file)
        if not self.lost:
            copy = await service.files.ensure(file, provider=self.way.provider)
            self.lost = copy.reference
            await self._lose()
        await service.files.lost(file, provider=self.way.provider, reference=self.lost)
        again = await service.files.ensure(file, provider=self.way.provider)
        assert again.id

    async def _lose(self) -> None:
        (purchase,) = self.simulator.account.purchases()
        transport = httpx.ASGITransport(self.simulator.app)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{HOST}") as http:
            id = purchase.id if self.way.provider != "google" else self.lost.rpartition("/")[2]
            (await http.post("/_sim/faults", json={"fault": "expire_file", "file": id})).raise_for_status()

    async def judge(self, service: perdure.Service, file: perdure.FileReference, listed: list[str]) -> None:
        """The second copy is there, under an identity of its own."""
        await self.assert_kept(service, file, listed)
        shown = await self.there()
        assert shown[-1:] == [self.identity(1)]
        assert len(self.simulator.account.purchases()) == 2


class DeletedFile(PushedFile):
    """Put there, and deleted everywhere while a second upload of it is under way."""

    async def use(self, service: perdure.Service, file: perdure.FileReference) -> None:
        """Puts it there, begins under another credential, deletes it."""
        handle = await service.get(file.id)
        if (await handle.state()).life == "kept":
            await super().use(service, file)
            await service.files.push(file, provider=self.way.provider, credential="other")
        await service.files.delete(file, everywhere=True)

    async def judge(self, service: perdure.Service, file: perdure.FileReference, listed: list[str]) -> None:
        """Nobody has it any more."""
        assert listed == []
        assert await self.there() == []
        state: Any = await (await service.get(file.id)).state()
        assert (state.life, state.released) == ("deleted", True)


async def named_blobs(path: Path) -> int:
    """How many blobs are left when the next process has swept. Removes those, too."""
    disk, root = InlineDisk(), blobs_beside(path)

    async def nothing(digests: Sequence[str]) -> set[str]:
        await trio.lowlevel.checkpoint()
        return set()

    async with open_log(path, codecs=None, disk=disk) as log, BlobStore(root, disk) as blobs:
        await blobs.sweep(log.referenced, older_than_s=-3_600.0)
        assert [draft for draft in (root / "tmp").rglob("*") if draft.is_file()] == []
        return (await blobs.sweep(nothing, older_than_s=-3_600.0)).blobs
