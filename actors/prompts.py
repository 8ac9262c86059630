"""Prompts with files in them: taken in when they are submitted, shown to their provider when they go out.

What is taken in is small and lasts: large bytes become files of ours, by their content, so that the same picture in a
thousand prompts is stored once and uploaded once; files that are named are held, so that the prompt can be sent also
when their time is over meanwhile. Which of a provider's references a request names is found out at the last moment, for
references come and go.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

import msgspec
from msgspec import Struct, structs

from perdure.actors.backing import Acting
from perdure.actors.fetch import Fetch, FetchError
from perdure.actors.file.files import Files, Sources
from perdure.actors.file.state import Copy, FileState, current_copy, opened
from perdure.actors.purchase import SECOND_US
from perdure.actors.resolving import (
    FileStrategy,
    KnownFile,
    RemoteCopy,
    Resolution,
    Shows,
    resolve,
)
from perdure.actors.resolving.parts import filename_of
from perdure.actors.resolving.strategy import DEFAULT_STRATEGY, INLINE_BELOW_BYTES
from perdure.actors.who import Who
from perdure.events.errors import FileDeleted, FileExpired, InvalidSource, NotFound
from perdure.events.ids import IdSource
from perdure.events.messages import (
    DataUrl,
    FileReference,
    Inline,
    Message,
    Part,
    ProviderRef,
    Text,
    Url,
    checked_messages,
)
from perdure.events.request import HeldFile
from perdure.events.requests import Prompt, RawRequest
from perdure.events.sealed import plain

_DATA_URL_BELOW: Final = INLINE_BELOW_BYTES * 4 // 3
"""A data URL with fewer characters holds fewer bytes than are taken in."""


class TakenIn(Struct, frozen=True):
    """A prompt as it is kept: it names nothing that is only in memory or on a disk. `held` are the files of ours in it.

    `digest` is a hash of what its caller wrote, files and all, before anything was made of it.
    """

    prompt: Prompt
    held: Sequence[HeldFile]
    digest: str


def with_files(request: Prompt | RawRequest) -> Prompt | None:
    """The request, if it is a prompt with anything but words in it; None if not."""
    if not isinstance(request, Prompt) or isinstance(request.content, str):
        return None
    parts = (part for message in request.content for part in getattr(message, "parts", ()))
    return request if any(not isinstance(part, Text) for part in parts) else None


def words_of(prompt: Prompt) -> Prompt:
    """The prompt with words in the place of its files: whether it can be asked at all is judged by that."""
    assert not isinstance(prompt.content, str)
    return structs.replace(
        prompt,
        content=[
            Message(message.role, [part if isinstance(part, Text) else Text("file") for part in message.parts])
            for message in checked_messages(prompt.content)
        ],
    )


def _digest(provider: str, endpoint: str, prompt: Prompt) -> str:
    written = msgspec.json.encode(structs.replace(prompt, custom_id=None))
    return hashlib.sha256(b"\0".join((provider.encode(), endpoint.encode(), written))).hexdigest()[:32]


class Prompts:
    """Takes prompts in and resolves them. `attach` says over what, once that runs."""

    def __init__(self, strategy: FileStrategy = DEFAULT_STRATEGY) -> None:
        self._strategy = strategy
        self._acting: Acting | None = None
        self._ids: IdSource | None = None
        self._sources: Sources | None = None

    def attach(self, acting: Acting, *, ids: IdSource, sources: Sources) -> None:
        """Actors that show files are made before what runs them; this closes the ring."""
        self._acting, self._ids, self._sources = acting, ids, sources

    @asynccontextmanager
    async def take_in(self, prompt: Prompt, who: Who, *, provider: str, endpoint: str) -> AsyncGenerator[TakenIn]:
        """The prompt as it can be kept. The bytes that it names stay until the block is left: keep it in there.

        `provider` and `endpoint` are part of what its digest tells apart. Raises `InvalidSource` that names the part,
        `DiskFull` and other `Unavailable`.
        """
        intake = _Intake(self._files(who), self._over)
        async with intake.pins:
            kept, written = await intake.take(prompt)
            yield TakenIn(kept, tuple(intake.held.values()), _digest(provider, endpoint, written))

    async def resolve(
        self,
        prompt: Prompt,
        who: Who,
        *,
        shows: Shows,
        endpoint: str,
        credential: str,
        held: Sequence[HeldFile] = (),
        life_s: float = 0.0,
    ) -> Resolution:
        """The messages of a prompt as `shows`'s `endpoint` can be told them now, and for `life_s` seconds from now.

        Raises as `resolving.resolve` does.
        """
        assert not isinstance(prompt.content, str)
        shelf = _Shelf(self._files(who), self._over, credential, life_s, {file.id: file for file in held})
        now = self._over.runtime.now()
        return await resolve(prompt.content, shows.shows(endpoint), shelf, now=now, strategy=self._strategy)

    async def forget_gone(
        self, resolution: Resolution, who: Who, fetch: Fetch, *, provider: str, credential: str
    ) -> bool:
        """Asks the provider for each file that a refused request named, and marks those that it has no more.

        True if there were any: then the request can be resolved anew.
        """
        files = self._files(who)
        remote_files = self._over.remote_files[provider]
        found = False
        for reference, id in resolution.files.items():
            try:
                copy = current_copy(await files.state_of(id), provider, credential)
                remote = None if copy is None else await remote_files.info(fetch, copy.remote_id)
            except (FetchError, NotFound):
                continue
            if remote is None or remote.readiness == "failed":
                await files.lost(id, provider=provider, reference=reference)
                found = True
        return found

    @property
    def _over(self) -> Acting:
        assert self._acting is not None, "attach was not called"
        return self._acting

    def _files(self, who: Who) -> Files:
        assert self._ids is not None, "attach was not called"
        assert self._sources is not None
        return Files(self._over, ids=self._ids, sources=self._sources, who=who)


class _Intake:
    """One prompt on its way in. `pins` keep the bytes of the files that it holds until they are left."""

    def __init__(self, files: Files, over: Acting) -> None:
        self._files = files
        self._blobs = over.blobs
        self.held: dict[str, HeldFile] = {}
        self.pins = AsyncExitStack()

    async def take(self, prompt: Prompt) -> tuple[Prompt, Prompt]:
        """The prompt as it is kept, and as it was written: with the hash of what came from a disk or a stream."""
        assert not isinstance(prompt.content, str)
        kept: list[Message] = []
        written: list[Message] = []
        for n, message in enumerate(prompt.content):
            taken = [await self._part(part, f"content[{n}].parts[{m}]") for m, part in enumerate(message.parts)]
            kept.append(Message(message.role, [part for part, _ in taken]))
            written.append(Message(message.role, [part for _, part in taken]))
        return structs.replace(prompt, content=kept), structs.replace(prompt, content=written)

    async def _part(self, part: Part, place: str) -> tuple[Part, Part]:
        if isinstance(part, Text):
            return part, part
        given = part.source
        if isinstance(given, Url | ProviderRef):
            return part, part
        if isinstance(given, FileReference):
            await self._hold(given.id)
            return part, part
        in_memory = isinstance(given, Inline | DataUrl)
        if isinstance(given, Inline | DataUrl) and not _is_large(given):
            return part, part
        try:
            file = await self._files.take(given, filename=filename_of(part))
        except InvalidSource as error:
            raise InvalidSource(f"{place}: {error}", reason=error.reason, field=place) from error
        blob = await self._hold(file.id)
        kept = structs.replace(part, source=file)
        return kept, part if in_memory else structs.replace(part, source=Inline(blob.encode(), ""))

    async def _hold(self, id: str) -> str:
        """Keeps a file's bytes, and gives their digest; "" for a file that is not there, of which resolving will say
        why."""
        if id not in self.held:
            held = await _held(self._files, id)
            if held is None:
                return ""
            await self.pins.enter_async_context(self._blobs.pin(held.blob))
            self.held[id] = held
        return self.held[id].blob


def _is_large(source: Inline | DataUrl) -> bool:
    """Whether a source's bytes are better kept as a file of ours than in the prompt itself."""
    if isinstance(source, Inline):
        return len(source.data) >= INLINE_BELOW_BYTES
    return len(source.url) >= _DATA_URL_BELOW


async def _held(files: Files, id: str) -> HeldFile | None:
    """What must be kept of a file; None if it is not there, of which resolving will say why."""
    try:
        created = (await files.state_of(id)).created
    except NotFound:
        return None
    assert created is not None
    return HeldFile(
        id=id,
        blob=created.blob,
        size_bytes=created.size_bytes,
        mime_type=created.mime_type,
        filename=plain(opened(created.filename)),
    )


class _Shelf:
    """Our files as one prompt sees them: see `perdure.actors.resolving.Files`. Those that are held are always there."""

    def __init__(
        self, files: Files, acting: Acting, credential: str, life_s: float, held: Mapping[str, HeldFile]
    ) -> None:
        self._files = files
        self._acting = acting
        self._credential = credential
        self._life_s = life_s
        self._held = held
        self.fetches_urls: bool = files.fetches_urls

    async def look_up(self, id: str, provider: str) -> KnownFile:
        try:
            return self._known(await self._files.state_of(id), provider)
        except (FileExpired, FileDeleted):
            held = self._held.get(id)
            if held is None:
                raise
            return KnownFile(
                id=id, filename=opened(held.filename), mime_type=held.mime_type, size_bytes=held.size_bytes
            )

    async def take(self, data: bytes, *, filename: str | None, mime_type: str, provider: str) -> KnownFile:
        file = await self._files.take(Inline(data, mime_type), filename=filename)
        return await self.look_up(file.id, provider)

    async def take_url(self, url: str, *, filename: str | None, mime_type: str | None, provider: str) -> KnownFile:
        file = await self._files.take(Url(url), filename=filename, mime_type=mime_type)
        return await self.look_up(file.id, provider)

    async def ensure(self, id: str, provider: str) -> str:
        file = await self._files.ensure(id, provider=provider, credential=self._credential, life_s=self._life_s)
        return file.reference

    async def read(self, id: str) -> bytes:
        held = self._held.get(id)
        if held is not None:
            return await self._acting.blobs.read(held.blob)
        return b"".join([chunk async for chunk in self._files.read(id)])

    def _known(self, state: FileState, provider: str) -> KnownFile:
        created = state.created
        assert created is not None
        copy = current_copy(state, provider, self._credential)
        return KnownFile(
            id=state.actor,
            filename=opened(created.filename),
            mime_type=created.mime_type,
            size_bytes=created.size_bytes,
            copy=None if copy is None or not copy.ready else self._copy(copy),
        )

    def _copy(self, copy: Copy) -> RemoteCopy:
        now = self._acting.runtime.now()
        usable = copy.status_at(now) == "uploaded" and copy.lasts(now, int(self._life_s * SECOND_US))
        return RemoteCopy(copy.reference, copy.expires_at or None, usable=usable)
