"""From a request for media to a durable operation: checked, its sources taken in, recorded once for each key."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import msgspec
from msgspec import Struct, structs

from perdure.actors.backing import Acting
from perdure.actors.batch.opening import (
    LONGEST_NAME,
    check_deadline,
    check_on_uncertain,
    check_tags,
    deadline_us,
    known_provider,
)
from perdure.actors.budget.watch import BudgetWatch, Spending
from perdure.actors.media.checking import capability_of, check_request, place_of, put_back, with_sources
from perdure.actors.media.examining import size_of
from perdure.actors.media.ports import MediaProvider
from perdure.actors.media.state import PREFIXES, MediaState, difference
from perdure.actors.prompts import Prompts
from perdure.actors.request.effects import keep
from perdure.actors.sources.data_url import parse_data_url
from perdure.actors.sources.media_type import HEAD_BYTES, recognise
from perdure.actors.who import Who
from perdure.events.errors import InvalidRequest, InvalidSource, KeyConflict
from perdure.events.ids import IdSource
from perdure.events.keys import check_key
from perdure.events.media import ImageEdit, MediaRequest, OrderMedia, ResumeMedia
from perdure.events.messages import DataUrl, FileReference, Image, Inline, Part, ProviderRef
from perdure.events.purchase import OnUncertain
from perdure.events.request import HeldFile
from perdure.events.requests import Prompt
from perdure.events.texts import check_text
from perdure.store.records import ActorRow, Holder, KeyTaken


class _Taken(Struct, frozen=True):
    """A request as it is kept, with the files of ours in it, and a hash of what its caller wrote."""

    request: MediaRequest
    held: Sequence[HeldFile]
    digest: str


class Ordering:
    """Orders media for everybody who shares a service."""

    def __init__(
        self,
        acting: Acting,
        *,
        ids: IdSource,
        prompts: Prompts,
        credential: str,
        budgets: BudgetWatch | None = None,
    ) -> None:
        self._acting = acting
        self._ids = ids
        self._prompts = prompts
        self._credential = credential
        self._budgets = budgets

    async def order(
        self,
        kind: str,
        request: MediaRequest,
        who: Who,
        *,
        provider: str,
        key: str | None,
        credential: str | None,
        deadline_s: float | None,
        on_uncertain: OnUncertain,
        tags: Mapping[str, str] | None,
    ) -> ActorRow:
        """The row of the operation; durable when it returns. Nothing is recorded for a request that is refused.

        Raises `InvalidRequest`, `Unsupported`, `TooLarge`, `UnknownProvider`, `KeyConflict`, `BudgetExceeded`,
        `Unavailable`, `Closed`.
        """
        adapter = known_provider(self._acting.media, provider)
        model = check_request(adapter, request)
        check_deadline(deadline_s)
        check_on_uncertain(on_uncertain)
        if key is not None:
            check_key(key)
        credential = credential or self._credential
        check_text(credential, "credential", longest=LONGEST_NAME)
        tags = {**who.tags, **(tags or {})}
        check_tags(tags)
        async with self._taken_in(request, who, adapter) as taken:
            content = await keep(self._acting.blobs, msgspec.json.encode(taken.request))
            command = OrderMedia(
                provider=provider,
                capability=capability_of(request),
                model=model,
                credential=credential,
                request=content,
                digest=taken.digest,
                on_uncertain=on_uncertain,
                deadline_us=deadline_us(deadline_s),
                tags=tags,
                files=taken.held,
                subject=who.subject,
            )
            try:
                return await self._told(kind, command, who, key)
            finally:
                if content.blob:
                    self._acting.blobs.release(content.blob)

    async def _told(self, kind: str, command: OrderMedia, who: Who, key: str | None) -> ActorRow:
        known = None if key is None else await self._acting.log.find_key(who.tenant, key)
        if key is not None and known is not None:
            return await self._known(kind, key, known, command)
        if self._budgets is not None:
            spending = Spending(
                provider=command.provider,
                model=command.model,
                credential=command.credential,
                tenant=who.tenant,
                tags=command.tags,
            )
            if refusal := await self._budgets.refusal(spending):
                raise refusal
        actor = self._ids(PREFIXES[kind])
        size = command.request.size_bytes
        try:
            await self._acting.runtime.tell(
                kind, actor, command, tenant=who.tenant, key=key, principal=who.principal, size=size
            )
        except KeyTaken as taken:
            return await self._known(kind, taken.key, taken.holder, command)
        return await self._acting.looking.row(actor)

    async def _known(self, kind: str, key: str, holder: Holder, command: OrderMedia) -> ActorRow:
        """The operation that holds `key`, if it is the same one. One that is blocked tries again now."""
        row = await self._acting.looking.row(holder.actor)
        if row.kind != kind or holder.number is not None:
            raise _conflict(key, holder.actor, "kind")
        state: MediaState = (await self._acting.runtime.state(kind, row.actor, row.tenant)).state
        differs = "request" if state.ordered is None else difference(state.ordered, command)
        if differs is not None:
            raise _conflict(key, row.actor, differs)
        if row.standing.status == "blocked":
            await self._acting.tell(row, ResumeMedia())
        return row

    # ------------------------------------------------------------------ sources

    @asynccontextmanager
    async def _taken_in(self, request: MediaRequest, who: Who, provider: MediaProvider) -> AsyncGenerator[_Taken]:
        """The request as it can be kept. The bytes that it names stay until the block is left."""
        if not isinstance(request, ImageEdit):
            yield _Taken(request, (), _digest(provider.name, msgspec.json.encode(request)))
            return
        message = with_sources(request)
        _check_references(request, message.parts, provider.name)
        prompt = Prompt([message], model="")
        async with self._prompts.take_in(prompt, who, provider=provider.name, endpoint=capability_of(request)) as taken:
            kept = taken.prompt.content[0]
            assert not isinstance(kept, str)
            edit = put_back(request, kept)
            await self._check_pictures(edit, kept.parts, taken.held)
            words = msgspec.json.encode(structs.replace(edit, images=(), mask=None))
            masked = b"masked" if edit.mask is not None else b""
            yield _Taken(edit, taken.held, _digest(provider.name, words, masked, taken.digest.encode()))

    async def _check_pictures(self, edit: ImageEdit, parts: Sequence[Part], held: Sequence[HeldFile]) -> None:
        """Raises `InvalidRequest` for a source that is no image, and for a mask of another size than the first one, as
        far as their bytes are at hand."""
        blobs = {file.id: file.blob for file in held}
        sizes: list[tuple[int, int] | None] = []
        for number, part in enumerate(parts):
            assert isinstance(part, Image)
            data = await self._bytes(part, blobs)
            sizes.append(None if data is None else size_of(data))
            if data is None:
                continue
            found = recognise(data[:HEAD_BYTES]).mime_type
            if not found.startswith("image/"):
                place = place_of(edit, number)
                raise InvalidSource(f"{place} is {found} and no image", reason="kind", field=place, value=found)
        first, mask = sizes[0], sizes[-1]
        if edit.mask is not None and first is not None and mask is not None and first != mask:
            raise InvalidRequest(
                f"the mask is {mask[0]}x{mask[1]} and the image {first[0]}x{first[1]}: they must be alike",
                field="mask",
                limit=f"{first[0]}x{first[1]}",
                value=f"{mask[0]}x{mask[1]}",
            )

    async def _bytes(self, part: Image, blobs: Mapping[str, str]) -> bytes | None:
        """The bytes of a source that are here; None for what only its provider or a server has."""
        match part.source:
            case Inline(data=data):
                return data
            case DataUrl(url=url):
                return b"".join(parse_data_url(url).pieces())
            case FileReference(id=id) if blobs.get(id):
                return await self._acting.blobs.read(blobs[id])
            case _:
                return None


def _check_references(request: ImageEdit, parts: Sequence[Part], provider: str) -> None:
    """Raises `InvalidRequest` for a file that is at another provider (W-42)."""
    for number, part in enumerate(parts):
        source = part.source if isinstance(part, Image) else None
        if isinstance(source, ProviderRef) and source.provider != provider:
            place = place_of(request, number)
            raise InvalidRequest(
                f"{place}: {source.reference!r} is a file at {source.provider}, which {provider} cannot read: name the"
                " file by its own id, a FileReference, or give its bytes",
                field=place,
                value=source.provider,
            )


def _digest(*parts: str | bytes) -> str:
    written = (part.encode() if isinstance(part, str) else part for part in parts)
    return hashlib.sha256(b"\0".join(written)).hexdigest()[:32]


def _conflict(key: str, existing_id: str, difference: str) -> KeyConflict:
    return KeyConflict(
        f"the key {key!r} belongs to {existing_id}, which was ordered otherwise ({difference}): use another key",
        key=key,
        existing_id=existing_id,
        difference=difference,
    )
