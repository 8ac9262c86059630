"""One live request, the part that does I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from perdure.actors.fetch import Fetch, Network
from perdure.actors.kind import Again, Effect, Index, Port, Row
from perdure.actors.live import LiveProvider
from perdure.actors.nowhere import Nowhere
from perdure.actors.purchase import perform_purchase
from perdure.actors.request import state as pure
from perdure.actors.request.state import CODEC, FOLD, KIND, Ask, ReachDeadline, RequestState
from perdure.events.command import Command
from perdure.events.errors import BlobLost, Unavailable
from perdure.events.event import Event
from perdure.events.request import Content, ExpireRequest, FailRequest, NoteAnswered, RequestOpened, inline
from perdure.events.requests import LineError
from perdure.events.sealed import plain


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

    def __init__(self, *, log_id: str, providers: Mapping[str, LiveProvider], network: Network, blobs: Blobs) -> None:
        self._log_id = log_id
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
            body = await self._body(request)
            given = await provider.ask(fetch, endpoint=request.endpoint, model=request.model, body=body)
            said = provider.read(request.endpoint, given)
            content = await self._keep(given)
            if content.blob:
                pinned.append(content.blob)
            if isinstance(said, LineError):
                report = NoteAnswered(effect.attempt, content, said.code, said.message, said.status or 0)
            else:
                report = NoteAnswered(effect.attempt, content)
            return _Given(report)

        try:
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
        finally:
            self._blobs.release(*pinned)

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
