"""Images and speech, the part that does I/O: sending what was ordered, recording the answer, keeping its bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec
import trio
from msgspec import Struct, structs

from perdure.actors.costs.pricing import Pricing
from perdure.actors.fetch import Fetch, Network, Refused
from perdure.actors.kind import Again, Effect, Index, Port, Row
from perdure.actors.lane import Lane
from perdure.actors.media import state as pure
from perdure.actors.media.checking import place_of, put_back, with_sources
from perdure.actors.media.examining import Spoilt, decoded, examine, some_items
from perdure.actors.media.ports import MediaAnswer, MediaProvider
from perdure.actors.media.state import CODECS, FOLD, LetSourcesGo, Make, MediaState, ReachDeadline
from perdure.actors.nowhere import Nowhere
from perdure.actors.prompts import Prompts
from perdure.actors.purchasing import perform_purchase
from perdure.actors.request.effects import FILE_GONE_STATUSES, UNSHOWN, code_of
from perdure.actors.resolving import Resolution
from perdure.actors.who import Who
from perdure.events.command import Command
from perdure.events.cost import Units
from perdure.events.errors import BlobLost, InvalidSource, Unavailable
from perdure.events.event import Event
from perdure.events.file_warnings import FileTypeCorrected
from perdure.events.media import (
    ExpireMedia,
    FailMedia,
    ImageEdit,
    KeepMedia,
    LoseMedia,
    MediaOrdered,
    MediaRequest,
    NoteMediaAnswered,
    ReleaseMediaFiles,
    SpeechRequest,
    SpoilMedia,
    StoredItem,
)
from perdure.events.messages import Text
from perdure.events.request import NoteFileWarnings
from perdure.events.requests import Prompt
from perdure.events.sealed import Sealed, plain

FIRST_WAIT_S: Final = 1.0
LONGEST_WAIT_S: Final = 60.0
"""How long a disk that refuses is left alone before the bytes in hand are offered again, growing."""

_requests: Final[msgspec.json.Decoder[MediaRequest]] = msgspec.json.Decoder(MediaRequest)


def decode_request(body: bytes) -> MediaRequest:
    """The request that an order holds."""
    return _requests.decode(body)


class Stored(Protocol):
    """A blob that was put."""

    @property
    def digest(self) -> str:
        """The digest, which names the blob."""
        ...


class Blobs(Protocol):
    """The blob store as media use it."""

    async def put(self, chunks: bytes) -> Stored:
        """Stores content; durable and pinned when it returns. Raises `Unavailable`."""
        ...

    async def read(self, digest: str) -> bytes:
        """A whole blob. Raises `BlobLost`, `Unavailable`."""
        ...

    def release(self, *digests: str) -> None:
        """Takes the pins away."""
        ...


class Media:
    """A kind of media, `state.IMAGE` or `state.AUDIO`; see `perdure.actors.kind.Kind`."""

    fold = FOLD

    def __init__(
        self,
        kind: str,
        *,
        log_id: str,
        providers: Mapping[str, MediaProvider],
        network: Network,
        blobs: Blobs,
        prompts: Prompts | None = None,
        pricing: Pricing | None = None,
    ) -> None:
        self.name = kind
        self.codec = CODECS[kind]
        self._log_id = log_id
        self._providers = providers
        self._network = network
        self._blobs = blobs
        self._prompts = prompts or Prompts()
        self._pricing = pricing or Pricing()

    @classmethod
    def unwired(cls, kind: str) -> Media:
        """The kind with nothing outside: it folds and judges, and performs nothing."""
        nowhere = Nowhere()
        return cls(kind, log_id="", providers={}, network=nowhere, blobs=nowhere)

    def initial(self, actor: str, tenant: str) -> MediaState:
        """See `Kind`."""
        return pure.initial(actor, tenant)

    def decide(self, state: MediaState, command: Command, at: int) -> Sequence[Event]:
        """See `Kind`."""
        return pure.decide(state, command, at)

    def evolve(self, state: MediaState, event: Event) -> MediaState:
        """See `Kind`."""
        return pure.evolve(state, event)

    def effects(self, state: MediaState) -> Sequence[Effect]:
        """See `Kind`."""
        return pure.effects(state)

    def row(self, state: MediaState) -> Row:
        """See `Kind`."""
        return pure.row(state)

    def index(self, event: Event) -> Index:
        """See `Kind`."""
        return pure.index(event)

    def weight(self, state: MediaState) -> int:
        """See `Kind`."""
        return pure.weight(state)

    async def perform(self, effect: Effect, port: Port) -> Again | None:
        """See `Kind`."""
        match effect:
            case Make(answered=True):
                await port.report(LoseMedia(effect.attempt))
                return None
            case Make():
                return await self._make(effect, port)
            case LetSourcesGo():
                await port.report(ReleaseMediaFiles())
                return None
            case ReachDeadline():
                await port.report(ExpireMedia())
                return None
            case _:
                raise TypeError(f"media have no effect of type {type(effect).__name__}")

    async def _make(self, effect: Make, port: Port) -> Again | None:
        order = effect.order
        answers: list[MediaAnswer] = []

        async def create(fetch: Fetch) -> _Made:
            request = await self._request(order)
            answer = await self._asked(order, request, fetch, port)
            answers.append(answer)
            cost = await self._pricing.of_usage(
                answer.usage,
                provider=order.provider,
                model=order.model,
                credential=order.credential,
                batch=False,
                at=port.now(),
                units=_units(request, answer),
            )
            return _Made(NoteMediaAnswered(effect.attempt, len(answer.items), answer.usage, cost))

        try:
            if not effect.intended:
                await self._pricing.prepare(order.provider, order.model, batch=False, at=port.now())
            again = await perform_purchase(
                effect,
                port,
                self._network,
                identity=self._identity(port),
                create=create,
                find=_find_nothing,
                bought=lambda made, reconciled: made.report,
            )
        except BlobLost as lost:
            await port.report(FailMedia(code="blob_lost", message=str(lost)))
            return None
        except UNSHOWN as error:
            await port.report(FailMedia(code=code_of(error), message=str(error)))
            return None
        if answers:
            await self._keep(effect.attempt, answers[0], port)
        return again

    def _identity(self, port: Port) -> str:
        return f"{self._log_id}-{port.actor}-0"

    # ------------------------------------------------------------------ sending

    async def _request(self, order: MediaOrdered) -> MediaRequest:
        """What is to be sent. Raises `BlobLost` also when it was erased: it cannot be had any more."""
        if order.request.blob:
            return decode_request(await self._blobs.read(order.request.blob))
        text = order.request.text.open()
        if isinstance(text, str):
            return decode_request(text.encode())
        raise BlobLost("the request was erased before it was sent")

    async def _asked(self, order: MediaOrdered, request: MediaRequest, fetch: Fetch, port: Port) -> MediaAnswer:
        """What the provider answers. The sources of an edit are shown it now; if it refuses the request and has one of
        them no more, that one is uploaded and the request sent once more."""
        provider = self._providers[order.provider]

        async def ask(shown: MediaRequest) -> MediaAnswer:
            return await provider.ask(fetch, shown, model=order.model, identity=self._identity(port))

        if not isinstance(request, ImageEdit):
            return await ask(request)
        who = Who(tenant=port.tenant, subject=order.subject)
        resolution, shown = await self._shown(order, request, provider, who, port)
        try:
            return await ask(shown)
        except Refused as refused:
            if refused.status not in FILE_GONE_STATUSES or not resolution.files:
                raise
            lane = Lane(port.tenant, order.provider, order.credential, "files")
            files = self._network.bind(lane, trace=port.trace)
            named = {"provider": order.provider, "credential": order.credential}
            if not await self._prompts.forget_gone(resolution, who, files, **named):
                raise
        _, shown = await self._shown(order, request, provider, who, port)
        return await ask(shown)

    async def _shown(
        self, order: MediaOrdered, request: ImageEdit, provider: MediaProvider, who: Who, port: Port
    ) -> tuple[Resolution, ImageEdit]:
        """An edit as its provider can be told it now. Raises `InvalidSource` for a source that it cannot be shown: an
        edit without one of its sources is another edit."""
        resolution = await self._prompts.resolve(
            Prompt([with_sources(request)], model=order.model),
            who,
            shows=provider,
            endpoint=order.capability,
            credential=order.credential,
            held=order.files,
        )
        corrected = [warning for warning in resolution.warnings if isinstance(warning, FileTypeCorrected)]
        if corrected:
            await port.report(NoteFileWarnings(corrected))
        message = resolution.messages[0]
        for number, part in enumerate(message.parts):
            if isinstance(part, Text):
                place = place_of(request, number)
                raise InvalidSource(
                    f"{place} cannot be shown to {order.provider}: {part.text.strip('[]')}",
                    reason="unreadable",
                    field=place,
                )
        return resolution, put_back(request, message)

    # ------------------------------------------------------------------ keeping

    async def _keep(self, attempt: int, answer: MediaAnswer, port: Port) -> None:
        """Keeps what was paid for, one item in memory beside the answer at a time, and says so."""
        pinned: list[str] = []
        kept: list[StoredItem] = []
        try:
            for number, item in enumerate(some_items(answer)):
                data = await decoded(item, number)
                measured = examine(self.name, data, item, number)
                digest = await self._put(data)
                pinned.append(digest)
                kept.append(
                    StoredItem(
                        blob=digest,
                        size_bytes=len(data),
                        revised_prompt=plain(item.revised_prompt) if item.revised_prompt else Sealed(),
                        **structs.asdict(measured),
                    )
                )
            await port.report(KeepMedia(attempt, kept))
        except Spoilt as spoilt:
            await port.report(SpoilMedia(attempt, spoilt.code, str(spoilt)))
        finally:
            self._blobs.release(*pinned)

    async def _put(self, data: bytes) -> str:
        """The digest of a blob that is durable and pinned. What was paid for is in hand: a disk that refuses is asked
        again until it takes it, or until the process ends."""
        wait_s = FIRST_WAIT_S
        while True:
            try:
                return (await self._blobs.put(data)).digest
            except Unavailable:
                await trio.sleep(wait_s)
                wait_s = min(2 * wait_s, LONGEST_WAIT_S)


class _Made(Struct, frozen=True):
    """What came back, as it will be reported. The provider has no name for it under which it could be found again."""

    report: NoteMediaAnswered
    id: str = ""


async def _find_nothing(fetch: Fetch, since: int) -> Sequence[_Made]:
    raise RuntimeError("media of one round trip cannot be looked up: `can_find` is False")


def _units(request: MediaRequest, answer: MediaAnswer) -> Units:
    if isinstance(request, SpeechRequest):
        return Units(kind="speech", count=len(answer.items), characters=len(request.text))
    return Units(kind="image", count=len(answer.items), resolution=request.resolution or request.size or "")
