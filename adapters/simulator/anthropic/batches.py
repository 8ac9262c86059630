"""Anthropic's message batches: create, get, list, cancel, delete, results.

The body of a creation goes to the disk as it comes. What should have happened by now (see `lifecycle.py`) is done when
somebody looks: the results are written once a batch has ended. Sources: `contracts/providers.md` section 2.2,
Anthropic's Python SDK 2.11 (20 November 2026), `resources/messages/batches.py`.
"""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Final, Literal
from weakref import WeakValueDictionary

import trio
from msgspec import Struct, json
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.account import Purchase, record_purchase
from perdure.adapters.simulator.anthropic.errors import ApiError, invalid
from perdure.adapters.simulator.anthropic.headers import version_of
from perdure.adapters.simulator.anthropic.lifecycle import (
    BatchObject,
    BatchRecord,
    has_ended,
    is_archived,
    is_unseen,
    shown,
    stage,
)
from perdure.adapters.simulator.anthropic.lines import BadInput, Job, Received, split_requests, write_results
from perdure.adapters.simulator.anthropic.lists import Listing, read_around
from perdure.adapters.simulator.batching import NOT_YET, Arrange, CannotAfflict, Plan
from perdure.adapters.simulator.download import Download
from perdure.adapters.simulator.filestore import FileStore, KeptFile
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World

MAX_BODY_BYTES: Final = 256 * 1000 * 1000
"""The longest body of a creation: 256 MB (section 2.2)."""

PATH: Final = "/v1/messages/batches"

_KIND: Final = "anthropic-batch"
_SPOOL_BYTES: Final = 1 << 20

_records: Final = json.Decoder(BatchRecord)


class Deleted(Struct, frozen=True):
    """The answer to a deletion."""

    id: str
    type: Literal["message_batch_deleted"] = "message_batch_deleted"


class Batches:
    """The batch routes; implements `SimulatedBatches`.

    Args:
        files: those that requests may name.
        prefix: where Anthropic's routes are, below the base URL.
        pace_s: how long a batch takes without trouble, in seconds of the simulator's clock.
        arrange: asked once for each batch that is accepted.
    """

    def __init__(self, world: World, files: FileStore, *, prefix: str, pace_s: float, arrange: Arrange) -> None:
        self._world = world
        self._files = files
        self._prefix = prefix
        self._pace_s = pace_s
        self._arrange = arrange
        self._locks: WeakValueDictionary[str, trio.Lock] = WeakValueDictionary()

    def routes(self) -> list[Route]:
        """The routes, below the prefix."""
        return [
            Route(PATH, self._create, methods=["POST"]),
            Route(PATH, self._list, methods=["GET"]),
            Route(f"{PATH}/{{id}}", self._get, methods=["GET"]),
            Route(f"{PATH}/{{id}}", self._delete, methods=["DELETE"]),
            Route(f"{PATH}/{{id}}/cancel", self._cancel, methods=["POST"]),
            Route(f"{PATH}/{{id}}/results", self._results, methods=["GET"]),
        ]

    async def afflict(self, id_: str, arrange: Arrange) -> bool:
        """See `SimulatedBatches`."""
        async with self._lock(id_):
            now = self._world.clock.now()
            record = await self._settled(id_, now)
            if record is None:
                return False
            if has_ended(record, now):
                raise CannotAfflict(f"the batch '{id_}' has ended")
            arranged = arrange(record.plan)
            if arranged.plan.fail is not None and stage(record, now).status != "validating":
                raise CannotAfflict(f"the batch '{id_}' is being worked on; its input was taken")
            changed = replace(
                record,
                plan=arranged.plan,
                expire_at=now if arranged.expires else record.expire_at,
                cancel_at=now if arranged.cancels and record.cancel_at is None else record.cancel_at,
            )
            await self._save(changed)
        return True

    def kept(self, tables: Tables) -> set[str]:
        """See `SimulatedBatches`."""
        ids = tables.ids(_KIND, self._world.clock.now())
        return {_input_name(id_) for id_ in ids} | {_results_name(id_) for id_ in ids}

    # ------------------------------------------------------------ making

    async def _create(self, request: Request) -> Response:
        version = version_of(request)
        with self._world.receiving() as body, self._world.receiving() as lines:
            await self._receive(request, body)
            try:
                received = await self._world.storage.bulk(lambda: split_requests(body, lines))
            except BadInput as error:
                raise invalid(str(error)) from error
            record = await self._world.storage.run(lambda tables: self._accept(tables, lines, received, version))
        return _answer(self._shown(request, record, NOT_YET))

    async def _receive(self, request: Request, body: Path) -> None:
        size_bytes = 0
        spool = bytearray()

        def write() -> None:
            with body.open("ab") as file:
                file.write(spool)
            spool.clear()

        async with aclosing(request.stream()) as chunks:
            async for chunk in chunks:
                size_bytes += len(chunk)
                if size_bytes > MAX_BODY_BYTES:
                    raise ApiError(413, f"The request is longer than {MAX_BODY_BYTES} bytes.")
                spool += chunk
                if len(spool) >= _SPOOL_BYTES:
                    await self._world.storage.bulk(write)
        await self._world.storage.bulk(write)

    def _accept(self, tables: Tables, lines: Path, received: Received, version: str) -> BatchRecord:
        now = self._world.clock.now()
        id_ = self._world.new_id(tables, "msgbatch_")
        arranged = self._arrange(Plan())
        half_way = now + self._pace_s / 2
        record = BatchRecord(
            id=id_,
            total=received.total,
            version=version,
            created_at=now,
            pace_s=self._pace_s,
            plan=arranged.plan,
            expire_at=half_way if arranged.expires else None,
            cancel_at=half_way if arranged.cancels else None,
        )
        lines.replace(self._world.path(_input_name(id_)))
        tables.add(_KIND, id_, json.encode(record), since=now + arranged.unlisted_s)
        mark = received.first if received.total == 1 else f"{received.first}..{received.last}"
        record_purchase(tables, Purchase("anthropic", "batch", id_, mark, received.total, now, received.sha256))
        return record

    # ------------------------------------------------------------ looking

    async def _get(self, request: Request) -> Response:
        async with self._lock(request.path_params["id"]):
            now = self._world.clock.now()
            return _answer(self._shown(request, await self._settle(request, now), now))

    async def _list(self, request: Request) -> Response:
        page = await read_around(request, self._world, _KIND)
        batches: list[BatchObject] = []
        for doc in page.docs:
            record, now = _records.decode(doc), self._world.clock.now()
            if record.counts is None:
                async with self._lock(record.id):
                    now = self._world.clock.now()
                    record = await self._settled(record.id, now) or record
            batches.append(self._shown(request, record, now))
        first, last = (batches[0].id, batches[-1].id) if batches else (None, None)
        return _answer(Listing(batches, page.has_more, first, last))

    async def _results(self, request: Request) -> Response:
        id_: str = request.path_params["id"]
        async with self._lock(id_):
            now = self._world.clock.now()
            record = await self._settle(request, now)
        if record.counts is None:
            raise invalid(f"The batch {id_} has not ended: it has no results yet.")
        if is_archived(record, now) or record.plan.no_files:
            raise ApiError(404, f"The results of the batch {id_} are not available.")
        path = self._world.path(_results_name(id_))
        headers = {"content-type": "application/x-jsonl"}
        return Download(path, record.size_bytes, self._world.storage, headers=headers)

    # ------------------------------------------------------------ ending

    async def _cancel(self, request: Request) -> Response:
        id_: str = request.path_params["id"]
        async with self._lock(id_):
            now = self._world.clock.now()
            record = await self._settle(request, now)
            if record.counts is not None:
                raise invalid(f"The batch {id_} has ended and cannot be canceled.")
            if record.cancel_at is None or record.cancel_at > now:
                await self._save(replace(record, cancel_at=now))
                record = await self._settle(request, now)
            return _answer(self._shown(request, record, now))

    async def _delete(self, request: Request) -> Response:
        id_: str = request.path_params["id"]
        async with self._lock(id_):
            record = await self._settle(request, self._world.clock.now())
            if record.counts is None:
                raise invalid(f"The batch {id_} is being processed: cancel it before it is deleted.")
            await self._world.storage.run(lambda tables: tables.remove(id_))
            results = self._world.path(_results_name(id_))
            await self._world.storage.bulk(lambda: results.unlink(missing_ok=True))
        return _answer(Deleted(id_))

    # ------------------------------------------------------------ doing what is due

    def _lock(self, id_: str) -> trio.Lock:
        lock = self._locks.get(id_)
        if lock is None:
            self._locks[id_] = lock = trio.Lock()
        return lock

    def _shown(self, request: Request, record: BatchRecord, now: float) -> BatchObject:
        origin = f"{request.url.scheme}://{request.url.netloc}"
        return shown(record, now, f"{origin}{self._prefix}{PATH}/{record.id}/results")

    async def _settle(self, request: Request, now: float) -> BatchRecord:
        """The batch that the path names, with what is due by `now` done. The caller has its lock. Raises `ApiError`."""
        id_: str = request.path_params["id"]
        record = await self._settled(id_, now)
        if record is None or is_unseen(record, now):
            raise ApiError(404, f"Message batch not found: {id_}")
        return record

    async def _settled(self, id_: str, now: float) -> BatchRecord | None:
        doc = await self._world.storage.run(lambda tables: tables.get(_KIND, id_, now))
        if doc is None:
            return None
        record = _records.decode(doc)
        at = stage(record, now)
        if record.counts is not None or not has_ended(record, now):
            return record
        failed = at.status == "failed"
        job = Job(
            batch_id=id_,
            source=self._world.path(_input_name(id_)),
            results=self._world.path(_results_name(id_)),
            total=record.total,
            done=record.total if failed else at.done,
            end=at.status,
            complaint=record.plan.fail if failed else None,
            plan=record.plan,
            seed=self._world.seed,
            version=record.version,
            find=self._find,
            is_expired=self._files.is_expired,
        )
        counts, size_bytes = await self._world.storage.bulk(lambda: write_results(job))
        ended = replace(record, counts=counts, size_bytes=size_bytes)
        await self._save(ended)
        await self._world.storage.bulk(lambda: job.source.unlink(missing_ok=True))
        return ended

    def _find(self, id_: str) -> KeptFile | None:
        """A file, for the thread that writes results."""
        with self._world.storage.transaction() as tables:
            return self._files.find(tables, id_)

    async def _save(self, record: BatchRecord) -> None:
        await self._world.storage.run(lambda tables: tables.replace(record.id, json.encode(record)))


def _input_name(batch_id: str) -> str:
    return f"input-{batch_id}"


def _results_name(batch_id: str) -> str:
    return f"results-{batch_id}"


def _answer(value: object) -> Response:
    return Response(json.encode(value), media_type="application/json")
