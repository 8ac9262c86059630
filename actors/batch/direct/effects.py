"""Lines that go live, the part that does I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence

import msgspec
import trio
from msgspec import Struct

from perdure.actors.batch.direct.asks import AskLive, WriteError
from perdure.actors.batch.input_file import split_lines
from perdure.actors.batch.ports import BatchProvider, Blobs, Stored
from perdure.actors.batch.state import Chunk
from perdure.actors.costs.pricing import Pricing
from perdure.actors.fetch import Fetch, Network
from perdure.actors.kind import Again, Port
from perdure.actors.live import LiveProvider
from perdure.actors.purchasing import perform_purchase
from perdure.events.batch import FailLine, NoteLineAnswered, SettleLine
from perdure.events.errors import BlobLost, Unavailable
from perdure.events.requests import Answer, LineError

CHUNKS_KEPT = 4
"""How many runs of lines are kept split: the lines on their way follow one another, so most lie in one run."""

KEEP_RETRY_S = 1.0
"""How long an answer that could not be stored waits before that is tried again: it is paid for."""


class DirectLines:
    """Performs what lines that go live ask for. Lines for a provider without batches are bare bodies."""

    def __init__(
        self,
        *,
        log_id: str,
        batches: Mapping[str, BatchProvider],
        live: Mapping[str, LiveProvider],
        network: Network,
        blobs: Blobs,
        pricing: Pricing,
    ) -> None:
        self._pricing = pricing
        self._log_id = log_id
        self._batches = batches
        self._live = live
        self._network = network
        self._blobs = blobs
        self._split: OrderedDict[str, Sequence[bytes]] = OrderedDict()

    async def ask(self, effect: AskLive, port: Port) -> Again | None:
        """Sends one line and keeps what comes back."""
        provider = self._live[effect.provider]
        number, attempt = effect.ordinal, effect.attempt
        pinned: list[str] = []

        async def create(fetch: Fetch) -> _Given:
            body = await self._body(effect)
            given = await provider.ask(fetch, endpoint=effect.endpoint, model=effect.model, body=body)
            said = provider.read(effect.endpoint, given)
            blob = await self._keep(given)
            pinned.append(blob.digest)
            report = NoteLineAnswered(
                number=number,
                attempt=attempt,
                blob=blob.digest,
                length=len(given),
                ok=isinstance(said, Answer),
                cost=await self._pricing.of(said, **priced, batch=False, at=port.now()),
            )
            return _Given(report)

        priced = {"provider": effect.provider, "model": effect.model, "credential": effect.lane.credential}
        try:
            if not effect.intended:
                await self._pricing.prepare(effect.provider, effect.model, batch=False, at=port.now())
            return await perform_purchase(
                effect,
                port,
                self._network,
                identity=f"{self._log_id}-{port.actor}-{number}",
                create=create,
                find=_find_nothing,
                bought=lambda given, reconciled: given.report,
            )
        except BlobLost as lost:
            await port.report(FailLine(number=number, code="blob_lost", message=str(lost)))
            return None
        finally:
            self._blobs.release(*pinned)

    async def write_error(self, effect: WriteError, port: Port) -> None:
        """Writes down why a line has no answer."""
        text = msgspec.json.encode(LineError(effect.code, effect.message, effect.status or None))
        blob = await self._blobs.put(text)
        try:
            await port.report(SettleLine(number=effect.number, blob=blob.digest, length=len(text)))
        finally:
            self._blobs.release(blob.digest)

    async def _body(self, effect: AskLive) -> bytes:
        line = (await self._lines(effect.chunk))[effect.ordinal - effect.chunk.first]
        batches = self._batches.get(effect.provider)
        return line.rstrip(b"\n") if batches is None else batches.body_of(line)

    async def _lines(self, chunk: Chunk) -> Sequence[bytes]:
        lines = self._split.get(chunk.blob)
        if lines is None:
            lines = self._split[chunk.blob] = split_lines(await self._blobs.read(chunk.blob))
            if len(self._split) > CHUNKS_KEPT:
                self._split.popitem(last=False)
        return lines

    async def _keep(self, given: bytes) -> Stored:
        while True:
            try:
                return await self._blobs.put(given)
            except Unavailable:
                await trio.sleep(KEEP_RETRY_S)


class _Given(Struct, frozen=True):
    """What came back, as it will be reported. The provider has no name for it under which it could be found again."""

    report: NoteLineAnswered
    id: str = ""


async def _find_nothing(fetch: Fetch, since: int) -> Sequence[_Given]:
    raise RuntimeError("a line that went live cannot be looked up: `can_find` is False")
