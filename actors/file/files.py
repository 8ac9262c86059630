"""`service.files`: content under an id, and copies of it at providers.

Content goes to the blob store first and is then named by one event; nothing is left of an upload that broke off before
that but a blob without a name, which the sweep removes.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from msgspec import Struct

from perdure.actors.backing import Acting
from perdure.actors.batch.opening import LONGEST_NAME, known_provider
from perdure.actors.file.downloads import Downloads
from perdure.actors.file.orphans import Orphans
from perdure.actors.file.state import KIND, FileState, current_copy, life_at
from perdure.actors.file.views import CopyHandle, info_of, look_at_copy, over, provider_file
from perdure.actors.purchase import SECOND_US
from perdure.actors.sources import Source, UrlReader, open_source
from perdure.actors.views import Handle
from perdure.actors.who import Who
from perdure.events.command import Command
from perdure.events.errors import InvalidRequest, KeyConflict, NotFound, PerdureError, Rejected
from perdure.events.file import CreateFile, ExpireFile, LoseCopy, PushFile, RemoveFile
from perdure.events.files import FileInfo, ProviderFile, RemoteOrphan, SweptOrphan
from perdure.events.ids import IdSource
from perdure.events.keys import OWN_PREFIX, check_key
from perdure.events.messages import FileReference
from perdure.events.texts import check_text
from perdure.events.time_to_live import DEFAULT_S, TimeToLive, check_ttl
from perdure.store.disk import Disk
from perdure.store.records import ActorRow, Holder, KeyTaken

LISTED: Final = ("succeeded", "parked")
"""The statuses of files that are there: one that is parked after repeated trouble with a copy is."""

FILES_AT_A_TIME: Final = 200


class Sources(Struct, frozen=True):
    """How sources are read: what blocks goes through `disk`; `urls` fetches URLs, None where that is not allowed."""

    disk: Disk
    urls: UrlReader | None = None


class Files:
    """Files. Come by it as `service.files`. A file is named by its `FileReference` or by its id."""

    def __init__(self, acting: Acting, *, ids: IdSource, sources: Sources, who: Who) -> None:
        self._acting = acting
        self._runtime = acting.runtime
        self._blobs = acting.blobs
        self._ids = ids
        self._sources = sources
        self._who = who

    async def upload(
        self,
        source: Source,
        /,
        *,
        filename: str | None = None,
        mime_type: str | None = None,
        ttl_s: TimeToLive = DEFAULT_S,
        key: str | None = None,
        credential: str = "default",
    ) -> FileReference:
        """Stores a file in bounded memory; durable when it returns. The same content is stored once.

        A `ProviderRef` is fetched from its provider, with `credential`: what its tools made, mostly, for providers keep
        uploads to themselves.

        `ttl_s` seconds from now (60 to 2,592,000) it vanishes, or with `"persistent"` never by itself. With a `key`
        that a file has already, the same content gives that file, other content is a `KeyConflict`; a file that is over
        gives its key back.

        Raises `InvalidSource`, `InvalidRequest`, `TooLarge`, `KeyConflict`, `DiskFull` and other `Unavailable`,
        `Closed`; for a `ProviderRef` also `UnknownProvider` and `ProviderError`. Then nothing is stored.
        """
        self._acting.check_open()
        ttl = check_ttl(ttl_s)
        ttl_us = 0 if ttl == "persistent" else ttl * SECOND_US
        if key is not None:
            check_key(key)
        async with self._stored(source, filename, mime_type, ttl_us, credential) as command:
            return await self._create(command, key)

    async def take(
        self, source: Source, /, *, filename: str | None = None, mime_type: str | None = None
    ) -> FileReference:
        """The file of this subject with the content of `source`, made with the usual time to live if there is none.

        That is what becomes of bytes that are handed over again and again. Raises as `upload`.
        """
        async with self._stored(source, filename, mime_type, DEFAULT_S * SECOND_US, "default") as command:
            whose = hashlib.sha256(self._who.subject.encode()).hexdigest()[:16]
            return await self._create(command, f"{OWN_PREFIX}content:{whose}:{command.blob}")

    async def info(self, file: FileReference | str, /) -> FileInfo:
        """What is known of a file. Raises `NotFound`, `FileExpired`, `FileDeleted`."""
        return info_of(await self._kept(_id_of(file)), self._runtime.now())

    async def read(
        self, file: FileReference | str, /, *, start: int = 0, end: int | None = None
    ) -> AsyncGenerator[bytes]:
        """The bytes from offset `start` to before `end` (None: all that follow), about a megabyte at a time.

        They stay readable to the end although the file is over meanwhile; leave it early through `aclosing`. Raises
        `NotFound`, `FileExpired`, `FileDeleted`, `BlobLost`, `InvalidRequest` for a range that is not in the file.
        """
        created = (await self._kept(_id_of(file))).created
        assert created is not None
        end = created.size_bytes if end is None else end
        if not 0 <= start <= end <= created.size_bytes:
            raise InvalidRequest(
                f"the range {start} to {end} is not in the file, which has {created.size_bytes} bytes",
                field="start",
                limit=created.size_bytes,
                value=(start, end),
            )
        async with self._blobs.pin(created.blob):
            async for chunk in self._blobs.chunks(created.blob, start, end - start):
                yield chunk

    async def list(self, *, tag: tuple[str, str] | None = None) -> AsyncGenerator[FileInfo]:
        """The files that are there, newest first. Those that are over are left out; `service.list` has them too."""
        for status in LISTED:
            async for row in self._rows(status, tag):
                try:
                    yield await self.info(row.actor)
                except NotFound:
                    continue  # it is over since the page was read

    async def push(
        self, file: FileReference | str, /, *, provider: str, credential: str = "default"
    ) -> Handle[ProviderFile]:
        """Puts a file at a provider, once, however many ask; durable when it returns. Nothing happens if it is there.

        Raises `NotFound`, `FileExpired`, `FileDeleted`, `UnknownProvider`, `TooLarge` before a byte is sent, `Closed`.
        What else may come, the handle's `result` raises.
        """
        return await self._push(_id_of(file), provider, credential)

    async def delete(self, file: FileReference | str, /, *, everywhere: bool = False) -> None:
        """Deletes a file; durable when it returns. With `everywhere` its copies at providers are deleted as well, which
        goes on afterwards; that can be asked for of a file that is over, too.

        Raises `NotFound`; and `FileExpired` or `FileDeleted` for one that is over, unless `everywhere`.
        """
        id = _id_of(file)
        life = life_at(await self._state(id), self._runtime.now())
        if life != "kept" and not everywhere:
            raise over(id, life)
        await self._tell(id, RemoveFile(everywhere=everywhere))

    async def ensure(
        self, file: FileReference | str, /, *, provider: str, credential: str = "default", life_s: float = 0.0
    ) -> ProviderFile:
        """The copy that requests can name now and for `life_s` seconds, after an upload if there is none.

        Where no copy lives that long at the provider, it is one that is new. Raises as `push` and its result do.
        """
        id, life_us = _id_of(file), int(life_s * SECOND_US)
        state = await self._kept(id)
        copy = current_copy(state, provider, credential)
        now = self._runtime.now()
        if copy is not None and copy.status_at(now) == "uploaded" and copy.lasts(now, life_us):
            return provider_file(copy)
        return await (await self._push(id, provider, credential, life_us)).result()

    async def lost(self, file: FileReference | str, /, *, provider: str, reference: str) -> None:
        """Says that a provider did not know `reference` when a request named it (a 404 or 403 on use).

        That copy is not used any more. It is replaced at once, unless it was a replacement itself: then by the next
        `push`. Durable when it returns. Raises `NotFound`.
        """
        id = _id_of(file)
        await self._state(id)
        await self._tell(id, LoseCopy(provider, reference))

    def orphans(self, *, provider: str, credential: str = "default") -> AsyncGenerator[RemoteOrphan]:
        """The files at a provider that this log put there and that nothing in it needs, over all pages of its list.

        What is on its way there, or about to expire there, is none of them, nor is anything that another log or program
        put there. Raises `UnknownProvider`, `InvalidRequest`; while it is read `ProviderError` and `Closed`.
        """
        return Orphans(self._acting, self._who, provider=provider, credential=credential).listed()

    def sweep(self, *, provider: str, credential: str = "default") -> AsyncGenerator[SweptOrphan]:
        """Deletes those files there, and says of each what became of it. Each is on record before it is deleted.

        Nothing happens before the first one is asked for. Leave it early, and what was found already is still deleted,
        after a restart too. Doing it again finds what was left. Raises as `orphans`.
        """
        return Orphans(self._acting, self._who, provider=provider, credential=credential).swept()

    @property
    def fetches_urls(self) -> bool:
        """Whether a URL may be a source: it is a setting."""
        return self._sources.urls is not None

    async def state_of(self, id: str) -> FileState:
        """The state of a file that is there: a value to be read before the next await. Raises as `info`."""
        return await self._kept(id)

    # ------------------------------------------------------------------ inside

    @asynccontextmanager
    async def _stored(
        self, source: Source, filename: str | None, mime_type: str | None, ttl_us: int, credential: str
    ) -> AsyncGenerator[CreateFile]:
        """Stores what `source` holds, and gives the command that names it; its blob stays until the block is left."""
        async with open_source(
            source,
            disk=self._sources.disk,
            urls=self._sources.urls,
            providers=Downloads(self._acting, self._who, credential=credential),
            filename=filename,
            mime_type=mime_type,
        ) as content:
            blob = await self._blobs.put(content.chunks)
            try:
                yield CreateFile(
                    blob=blob.digest,
                    size_bytes=blob.size_bytes,
                    filename=content.name.safe,
                    shown=content.name.shown,
                    mime_type=content.media_type.mime_type,
                    # What is no media type may be any text, also such as UTF-8 cannot write.
                    declared=content.media_type.corrected_from.encode("utf-8", "replace").decode(),
                    charset=content.media_type.charset,
                    ttl_us=ttl_us,
                    subject=self._who.subject,
                    tags=self._who.tags,
                )
            finally:
                self._blobs.release(blob.digest)

    async def _create(self, command: CreateFile, key: str | None) -> FileReference:
        while True:
            actor = self._ids("file")
            try:
                await self._tell(actor, command, key=key)
            except KeyTaken as taken:
                known = await self._known(taken.key, taken.holder, command.blob)
                if known is not None:
                    return known
            else:
                return FileReference(actor)

    async def _known(self, key: str, holder: Holder, digest: str) -> FileReference | None:
        """The file that holds `key`, if it has this content; None once one that is over has given the key back."""
        row = await self._acting.looking.row(holder.actor)
        if row.kind != KIND or holder.number is not None:
            raise _conflict(key, holder.actor, "kind")
        state = await self._state(row.actor)
        if life_at(state, self._runtime.now()) != "kept":
            await self._tell(row.actor, ExpireFile())
            return None
        if state.created is None or state.created.blob != digest:
            raise _conflict(key, row.actor, "content")
        return FileReference(row.actor)

    async def _push(self, id: str, provider: str, credential: str, life_us: int = 0) -> CopyHandle:
        check_text(credential, "credential", longest=LONGEST_NAME)
        remote = known_provider(self._acting.remote_files, provider)
        await self._kept(id)
        command = PushFile(
            provider=provider,
            credential=credential,
            purpose=remote.purpose,
            settle_us=int(remote.settle_s * SECOND_US),
            searchable=remote.searchable,
            max_bytes=remote.max_bytes,
            life_us=life_us,
        )
        try:
            await self._tell(id, command)
        except Rejected:
            await self._kept(id)
            raise
        copy = current_copy(await self._state(id), provider, credential)
        assert copy is not None
        row, copy = await look_at_copy(self._acting, id, copy.order.ordinal)
        return CopyHandle(self._acting, row, copy)

    async def _state(self, id: str) -> FileState:
        """The state of a file, whatever its life. A value to be read before the next await. Raises `NotFound`."""
        aggregate = await self._runtime.state(KIND, id, self._who.tenant)
        if not aggregate.version:
            raise NotFound(f"there is no file {id[:80]!r}: `files.list` shows what there is", id=id)
        state: FileState = aggregate.state
        return state

    async def _kept(self, id: str) -> FileState:
        """The state of a file that is there. Raises `NotFound`, `FileExpired`, `FileDeleted`."""
        state = await self._state(id)
        life = life_at(state, self._runtime.now())
        if life != "kept":
            raise over(id, life)
        return state

    async def _tell(self, id: str, command: Command, *, key: str | None = None) -> None:
        await self._runtime.tell(KIND, id, command, tenant=self._who.tenant, key=key, principal=self._who.principal)

    async def _rows(self, status: str, tag: tuple[str, str] | None) -> AsyncIterator[ActorRow]:
        after: str | None = None
        while page := await self._acting.log.rows(
            kind=KIND, status=status, tenant=self._who.tenant, tag=tag, after=after, limit=FILES_AT_A_TIME
        ):
            for row in page:
                yield row
            after = page[-1].actor


def _id_of(file: FileReference | str) -> str:
    return file.id if isinstance(file, FileReference) else file


def _conflict(key: str, existing_id: str, difference: str) -> PerdureError:
    return KeyConflict(
        f"the key {key!r} belongs to {existing_id}, another {difference}: use another key",
        key=key,
        existing_id=existing_id,
        difference=difference,
    )
