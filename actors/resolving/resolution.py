"""From messages as they are written to messages that a provider can be told.

Each distinct source is settled once, all at the same time, and then new messages are put together. The caller's
messages, and everything in them, stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias

import trio
from msgspec import Struct, structs

from perdure.actors.resolving.facts import (
    FileFacts,
    InlineIt,
    NativeUrl,
    ProviderFacts,
    Refer,
    Reupload,
    Skip,
    UploadIt,
)
from perdure.actors.resolving.files import Files, KnownFile
from perdure.actors.resolving.parts import FilePart, filename_of, part_for
from perdure.actors.resolving.strategy import DEFAULT_STRATEGY, FileStrategy
from perdure.actors.sources.data_url import parse_data_url
from perdure.actors.sources.filename import name_file, safe_filename
from perdure.actors.sources.media_type import (
    HEAD_BYTES,
    accepted,
    extension_for,
    parse_media_type,
    recognise,
    type_by_name,
)
from perdure.events.errors import (
    BlobLost,
    FileDeleted,
    FileExpired,
    InvalidRequest,
    InvalidSource,
    NotFound,
    OperationError,
    PerdureError,
    ProviderError,
    Timeout,
    TooLarge,
    shorten,
)
from perdure.events.file_warnings import FileInlined, FileNotFound, FileSkipped, FileTypeCorrected, FileWarning
from perdure.events.messages import (
    DataUrl,
    FileReference,
    Inline,
    Message,
    Part,
    ProviderRef,
    Resolved,
    Text,
    Url,
    kept_source,
)
from perdure.events.sealed import plain

_UPLOAD_FAILED: Final = (ProviderError, OperationError, Timeout, FileExpired, FileDeleted)
"""Failures of an upload that leave the bytes to be sent inline: also a file that is over, but is held for this request.
Trouble of our own store is none of them."""


class Resolution(Struct, frozen=True):
    """Messages that name nothing but `Inline`, `Url` and `ProviderRef` of the provider, and what was done about files.

    `warnings` are in the order of the parts. `files` maps each reference in the messages to the id of our file, for the
    day on which the provider says that it has it no more.
    """

    messages: Sequence[Message]
    warnings: Sequence[FileWarning]
    files: Mapping[str, str]


async def resolve(
    messages: Sequence[Message],
    provider: ProviderFacts,
    files: Files,
    *,
    now: int,
    strategy: FileStrategy = DEFAULT_STRATEGY,
) -> Resolution:
    """`messages` as `provider` can be told them at `now` (µs since 1970 UTC); the caller's are not changed.

    A file that cannot be shown becomes the words `[File {filename} skipped: {reason}]` and a warning. An upload that
    fails leaves its file inline where it fits.

    Raises `InvalidRequest` that names the part for a source that can never be resolved: a data URL that cannot be read,
    a reference to another provider's file. Raises what the upload failed of where the file does not fit inline, and
    what `files` raises when our own store is in trouble.
    """
    resolving = _Resolving(provider, files, now, strategy)
    places = [
        (f"content[{number}].parts[{index}]", part)
        for number, message in enumerate(messages)
        for index, part in enumerate(message.parts)
    ]
    keys = {place: await _key(part, place, provider.provider) for place, part in places if not isinstance(part, Text)}
    outcomes = await resolving.settle_all(
        {keys[place]: filename_of(part) for place, part in reversed(places) if not isinstance(part, Text)}
    )
    warnings: list[FileWarning] = []

    def resolved(part: Part, place: str) -> Part:
        if isinstance(part, Text):
            return part
        outcome = outcomes[keys[place]]
        if isinstance(outcome, PerdureError):
            raise outcome
        warnings.extend(structs.replace(note, place=place) for note in outcome.notes)
        if isinstance(outcome, _Left):
            return Text(f"[File {safe_filename(filename_of(part) or outcome.filename)} skipped: {outcome.text}]")
        return part_for(outcome.source, outcome.mime_type, part, outcome.filename)

    made = tuple(
        Message(
            message.role,
            tuple(resolved(part, f"content[{number}].parts[{index}]") for index, part in enumerate(message.parts)),
        )
        for number, message in enumerate(messages)
    )
    return Resolution(made, tuple(warnings), resolving.references)


_Key: TypeAlias = Resolved | FileReference
"""What makes two sources one: the id, the address, or the bytes with their type."""


class _Shown(Struct, frozen=True):
    """A source that the provider can be told."""

    source: Resolved
    mime_type: str
    filename: str
    notes: tuple[FileWarning, ...] = ()


class _Left(Struct, frozen=True):
    """A source that is left out; `text` is why."""

    filename: str
    text: str
    notes: tuple[FileWarning, ...]


_Outcome: TypeAlias = _Shown | _Left | PerdureError
"""Failures are values here: tasks side by side would raise them as a group."""


async def _key(part: FilePart, place: str, provider: str) -> _Key:
    """What makes the part's source one with others; data URLs become their bytes here. Raises `InvalidRequest`."""
    source = kept_source(part.source, place)
    if isinstance(source, ProviderRef) and source.provider != provider:
        raise InvalidRequest(
            f"{place}: {shorten(source.reference)} is a file at {source.provider}, which {provider} cannot read:"
            " name the file by its own id, a FileReference, or give its bytes",
            field=f"{place}.source",
            value=source.provider,
        )
    if isinstance(source, DataUrl):
        try:
            parsed = parse_data_url(source.url)
            pieces: list[bytes] = []
            for piece in parsed.pieces():
                pieces.append(piece)
                await trio.lowlevel.checkpoint()
        except InvalidSource as error:
            raise InvalidSource(f"{place}: {error}", reason=error.reason, field=f"{place}.source") from error
        source = Inline(b"".join(pieces), parsed.mime_type)
    if isinstance(source, Inline) and not source.data:
        raise InvalidSource(f"{place}: the file is empty", reason="empty", field=f"{place}.source", limit=1, value=0)
    return source


class _Resolving:
    """One call to `resolve`."""

    def __init__(self, provider: ProviderFacts, files: Files, now: int, strategy: FileStrategy) -> None:
        self._provider = provider
        self._files = files
        self._now = now
        self._strategy = strategy
        self.references: dict[str, str] = {}

    async def settle_all(self, filenames: Mapping[_Key, str | None]) -> Mapping[_Key, _Outcome]:
        """What becomes of each source, by source; `filenames` holds what each is called, if anything."""
        outcomes: dict[_Key, _Outcome] = {}

        async def settle(key: _Key, filename: str | None) -> None:
            try:
                outcomes[key] = await self._settle(key, filename)
            except PerdureError as error:
                outcomes[key] = error

        async with trio.open_nursery() as nursery:
            for key, filename in filenames.items():
                nursery.start_soon(settle, key, filename)
        return outcomes

    async def _settle(self, source: _Key, filename: str | None) -> _Outcome:
        match source:
            case ProviderRef():
                return _Shown(source, source.mime_type, source.filename)
            case FileReference(id=id):
                return await self._settle_reference(id)
            case Inline():
                return await self._settle_inline(source, filename)
            case Url():
                return await self._settle_url(source, filename)

    async def _settle_reference(self, id: str) -> _Outcome:
        try:
            return await self._settle_known(await self._files.look_up(id, self._provider.provider))
        except BlobLost:
            raise
        except FileExpired:
            return _Left(id, "it has expired", (FileNotFound(id=id, reason="expired"),))
        except FileDeleted:
            return _Left(id, "it was deleted", (FileNotFound(id=id, reason="deleted"),))
        except NotFound:
            return _Left(id, "there is no such file", (FileNotFound(id=id, reason="unknown"),))

    async def _settle_inline(self, given: Inline, filename: str | None) -> _Outcome:
        media_type = recognise(given.data[:HEAD_BYTES], declared=given.mime_type, filename=filename or "")
        mime_type = media_type.mime_type
        name = name_file(filename, extension=extension_for(mime_type)).safe
        corrected = media_type.corrected_from
        correction = FileTypeCorrected(filename=plain(name), declared=_utf8(corrected), mime_type=mime_type)
        notes = (correction,) if corrected else ()
        inline = Inline(given.data, mime_type)
        facts = FileFacts(filename=name, mime_type=mime_type, size_bytes=len(given.data))
        decision = self._strategy.decide(facts, self._provider, self._now)
        if isinstance(decision, Skip):
            return _skipped(name, decision, notes)
        if isinstance(decision, InlineIt):
            return _Shown(inline, mime_type, name, notes)
        # Only what has to be uploaded becomes a file of ours; it may be one already, with a copy there.
        known = await self._files.take(
            given.data, filename=filename, mime_type=mime_type, provider=self._provider.provider
        )
        return await self._settle_known(known, notes, inline)

    async def _settle_url(self, given: Url, filename: str | None) -> _Outcome:
        path = given.url.partition("?")[0].partition("#")[0]
        mime_type = parse_media_type(given.mime_type)[0] or type_by_name(path)
        name = name_file(filename or path.rpartition("/")[2], extension=extension_for(mime_type)).safe
        facts = FileFacts(
            filename=name,
            mime_type=mime_type,
            size_bytes=None,
            url=given.url,
            fetchable=self._files.fetches_urls,
        )
        decision = self._strategy.decide(facts, self._provider, self._now)
        if isinstance(decision, Skip):
            return _skipped(name, decision)
        if isinstance(decision, NativeUrl):
            return _Shown(Url(decision.url, mime_type or None), mime_type, name)
        try:
            known = await self._files.take_url(
                given.url, filename=filename, mime_type=given.mime_type, provider=self._provider.provider
            )
        except (InvalidSource, TooLarge) as error:
            # What exactly is wrong is for the author of the prompt; the model need not hear of our network.
            note = FileSkipped(filename=plain(name), reason="not_fetched", text=plain(str(error)))
            return _Left(name, "its address could not be read", (note,))
        return await self._settle_known(known)

    async def _settle_known(
        self, known: KnownFile, notes: tuple[FileWarning, ...] = (), inline: Inline | None = None
    ) -> _Outcome:
        """What becomes of a file of ours. `inline`: its bytes, where they are at hand."""
        facts = FileFacts(
            filename=known.filename, mime_type=known.mime_type, size_bytes=known.size_bytes, copy=known.copy
        )
        match self._strategy.decide(facts, self._provider, self._now):
            case Skip() as skip:
                return _skipped(known.filename, skip, notes)
            case Refer(reference=reference):
                return self._referred(known, reference, notes)
            case InlineIt():
                return _Shown(inline or await self._read(known), known.mime_type, known.filename, notes)
            case UploadIt() | Reupload():
                pass
            case NativeUrl():
                raise TypeError("a strategy named the address of a file that has none")
        try:
            reference = await self._files.ensure(known.id, self._provider.provider)
        except _UPLOAD_FAILED as error:
            if not self._fits_inline(known):
                raise
            notes += (FileInlined(filename=plain(known.filename), cause=plain(str(error))),)
            return _Shown(inline or await self._read(known), known.mime_type, known.filename, notes)
        return self._referred(known, reference, notes)

    def _referred(self, known: KnownFile, reference: str, notes: tuple[FileWarning, ...]) -> _Shown:
        self.references[reference] = known.id
        provider = self._provider.provider
        source = ProviderRef(provider, reference, known.mime_type, known.filename)
        return _Shown(source, known.mime_type, known.filename, notes)

    def _fits_inline(self, known: KnownFile) -> bool:
        provider = self._provider
        return known.size_bytes <= provider.max_inline_bytes and accepted(known.mime_type, provider.inline)

    async def _read(self, known: KnownFile) -> Inline:
        return Inline(await self._files.read(known.id), known.mime_type)


def _skipped(filename: str, skip: Skip, notes: tuple[FileWarning, ...] = ()) -> _Left:
    note = FileSkipped(filename=plain(filename), reason=skip.reason, text=plain(skip.text))
    return _Left(filename, skip.text, (*notes, note))


def _utf8(text: str) -> str:
    """`text` as UTF-8 can write it: what is no media type may be anything."""
    return text.encode("utf-8", "replace").decode()
