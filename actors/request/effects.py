"""One live request, the part that does I/O."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import msgspec
from msgspec import Struct, structs

from perdure.actors.costs.pricing import Pricing
from perdure.actors.encoding import encode_request, endpoint_of
from perdure.actors.fetch import Fetch, Network, Refused
from perdure.actors.kind import Again, Effect, Index, Port, Row
from perdure.actors.lane import Lane
from perdure.actors.live import LiveProvider
from perdure.actors.nowhere import Nowhere
from perdure.actors.prompts import Prompts
from perdure.actors.purchasing import perform_purchase
from perdure.actors.request import state as pure
from perdure.actors.request.state import CODEC, FOLD, KIND, Ask, LetFilesGo, ReachDeadline, RequestState
from perdure.actors.resolving import Resolution
from perdure.actors.who import Who
from perdure.events.command import Command
from perdure.events.errors import (
    BlobLost,
    FileDeleted,
    FileExpired,
    OperationError,
    OperationFailed,
    PerdureError,
    Rejected,
    Timeout,
    Unavailable,
)
from perdure.events.event import Event
from perdure.events.request import (
    Content,
    ExpireRequest,
    FailRequest,
    NoteAnswered,
    NoteFileWarnings,
    ReleaseFiles,
    RequestOpened,
    inline,
)
from perdure.events.requests import LineError, Prompt
from perdure.events.sealed import plain

FILE_GONE_STATUSES: Final = frozenset({400, 403, 404})
"""What providers answer with when a request names a file that they have no more (contract on providers, sections 1.1,
2.1 and 3); each is asked for its files before that is believed."""

UNSHOWN: Final = (Rejected, OperationError, Timeout, FileExpired, FileDeleted)
"""What ends a request whose files cannot be shown to its provider. Trouble of our own store is tried again."""


def code_of(error: PerdureError) -> str:
    """What a failure is called: the cause of an upload's, else the kind of error, such as `file_expired`."""
    if isinstance(error, OperationFailed):
        return error.cause.partition(":")[0]
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()


class Stored(Protocol):
    """A blob that was put: its digest."""

    @property
    def digest(self) -> str:
        """The digest, which names the blob."""
        ...


class Blobs(Protocol):
    """The blob store as a request uses it."""

    async def put(self, chunks: bytes) -> Stored:
        """Stores content; durable and pinned when it returns. Raises `Unavailable`."""
        ...

    async def read(self, digest: str) -> bytes:
        """A whole blob. Raises `BlobLost`, `Unavailable`."""
        ...

    def release(self, *digests: str) -> None:
        """Takes the pins away."""
        ...


async def keep(blobs: Blobs, body: bytes) -> Content:
    """`body` as an event holds it. A blob is durable and pinned: release it once the event is. Raises `Unavailable`.

    Checkpoints only when it writes a blob.
    """
    content = inline(body)
    return Content(len(body), blob=(await blobs.put(body)).digest) if content is None else content


class Requests:
    """The kind of live requests; see `perdure.actors.kind.Kind`."""

    name = KIND
    fold = FOLD
    codec = CODEC

    def __init__(
        self,
        *,
        log_id: str,
        providers: Mapping[str, LiveProvider],
        network: Network,
        blobs: Blobs,
        prompts: Prompts | None = None,
        pricing: Pricing | None = None,
    ) -> None:
        self._log_id = log_id
        self._pricing = pricing or Pricing()
        self._prompts = prompts or Prompts()
        self._providers = providers
        self._network = network
        self._blobs = blobs

    @classmethod
    def unwired(cls) -> Requests:
        """The kind with nothing outside: it folds and judges, and performs nothing."""
        nowhere = Nowhere()
        return cls(log_id="", providers={}, network=nowhere, blobs=nowhere)

    def initial(self, actor: str, tenant: str) -> RequestState:
        """See `Kind`."""
        return pure.initial(actor, tenant)

    def decide(self, state: RequestState, command: Command, at: int) -> Sequence[Event]:
        """See `Kind`."""
        return pure.decide(state, command, at)

    def evolve(self, state: RequestState, event: Event) -> RequestState:
        """See `Kind`."""
        return pure.evolve(state, event)

    def effects(self, state: RequestState) -> Sequence[Effect]:
        """See `Kind`."""
        return pure.effects(state)

    def row(self, state: RequestState) -> Row:
        """See `Kind`."""
        return pure.row(state)

    def index(self, event: Event) -> Index:
        """See `Kind`."""
        return pure.index(event)

    def weight(self, state: RequestState) -> int:
        """See `Kind`."""
        return pure.weight(state)

    async def perform(self, effect: Effect, port: Port) -> Again | None:
        """See `Kind`."""
        match effect:
            case Ask():
                return await self._ask(effect, port)
            case LetFilesGo():
                await port.report(ReleaseFiles())
                return None
            case ReachDeadline():
                await port.report(ExpireRequest())
                return None
            case _:
                raise TypeError(f"a request has no effect of type {type(effect).__name__}")

    async def _ask(self, effect: Ask, port: Port) -> Again | None:
        request = effect.request
        provider = self._providers[request.provider]
        pinned: list[str] = []

        async def create(fetch: Fetch) -> _Given:
            given = await self._given(request, provider, fetch, port)
            said = provider.read(request.endpoint, given)
            content = await self._keep(given)
            if content.blob:
                pinned.append(content.blob)
            cost = await self._pricing.of(said, **priced, batch=False, at=port.now())
            if isinstance(said, LineError):
                report = NoteAnswered(effect.attempt, content, said.code, said.message, said.status or 0, cost)
            else:
                report = NoteAnswered(effect.attempt, content, cost=cost)
            return _Given(report)

        priced = {"provider": request.provider, "model": request.model, "credential": request.credential}
        try:
            if not effect.intended:
                await self._pricing.prepare(request.provider, request.model, batch=False, at=port.now())
            return await perform_purchase(
                effect,
                port,
                self._network,
                identity=f"{self._log_id}-{port.actor}-0",
                create=create,
                find=_find_nothing,
                bought=lambda given, reconciled: given.report,
            )
        except BlobLost as lost:
            await port.report(FailRequest(code="blob_lost", message=str(lost)))
            return None
        except UNSHOWN as error:
            await port.report(FailRequest(code=code_of(error), message=str(error)))
            return None
        finally:
            self._blobs.release(*pinned)

    async def _given(self, request: RequestOpened, provider: LiveProvider, fetch: Fetch, port: Port) -> bytes:
        """What the provider gives. A prompt with files is shown them now; if the provider refuses it and has one of
        them no more, that file is uploaded and the prompt sent once more."""
        content = await self._body(request)

        async def ask(body: bytes) -> bytes:
            return await provider.ask(fetch, endpoint=request.endpoint, model=request.model, body=body)

        if not request.neutral:
            return await ask(content)
        prompt = msgspec.json.decode(content, type=Prompt)
        who = Who(tenant=port.tenant, subject=request.subject)
        resolution, body = await self._shown(request, prompt, provider, who, port)
        try:
            return await ask(body)
        except Refused as refused:
            if refused.status not in FILE_GONE_STATUSES or not resolution.files:
                raise
            lane = Lane(port.tenant, request.provider, request.credential, "files")
            files = self._network.bind(lane, trace=port.trace)
            named = {"provider": request.provider, "credential": request.credential}
            if not await self._prompts.forget_gone(resolution, who, files, **named):
                raise
        _, body = await self._shown(request, prompt, provider, who, port)
        return await ask(body)

    async def _shown(
        self, request: RequestOpened, prompt: Prompt, provider: LiveProvider, who: Who, port: Port
    ) -> tuple[Resolution, bytes]:
        """The body for a prompt with files, as its provider can be shown them now; what was left out is recorded."""
        endpoints = provider.live_endpoints
        endpoint = endpoint_of(request.endpoint, endpoints) or request.endpoint
        resolution = await self._prompts.resolve(
            prompt, who, shows=provider, endpoint=endpoint, credential=request.credential, held=request.files
        )
        if resolution.warnings:
            await port.report(NoteFileWarnings(resolution.warnings))
        shown = structs.replace(prompt, content=resolution.messages)
        return resolution, encode_request(provider, shown, endpoints=endpoints, endpoint=endpoint).body

    async def _body(self, request: RequestOpened) -> bytes:
        """What is to be sent. Raises `BlobLost` also when it was erased: it cannot be had any more."""
        if request.body.blob:
            return await self._blobs.read(request.body.blob)
        text = request.body.text.open()
        if isinstance(text, str):
            return text.encode()
        raise BlobLost("the request was erased before it was sent")

    async def _keep(self, given: bytes) -> Content:
        """An answer as its event holds it. It is paid for: where no blob can be written, the event holds all of it, and
        the runtime offers that report again until it is durable."""
        try:
            return await keep(self._blobs, given)
        except Unavailable:
            return Content(len(given), plain(given.decode(errors="replace")))


class _Given(Struct, frozen=True):
    """What came back, as it will be reported. The provider has no name for it under which it could be found again."""

    report: NoteAnswered
    id: str = ""


async def _find_nothing(fetch: Fetch, since: int) -> Sequence[_Given]:
    raise RuntimeError("a live request cannot be looked up: `can_find` is False")
