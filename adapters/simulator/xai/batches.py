"""xAI's batches: create, add requests, get, list, cancel, results.

A batch that is made with a file is sealed and holds that file by a link of its own; one without takes requests until it
has ended. What should have happened by now (see `lifecycle.py`) is done when somebody looks.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

from msgspec import json
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.account import Purchase, record_purchase
from perdure.adapters.simulator.batch_desk import BatchDesk
from perdure.adapters.simulator.batching import DAY_S, NOT_YET, TERMINAL, Arrange, Plan, Stage
from perdure.adapters.simulator.filestore import FileStore
from perdure.adapters.simulator.openai.bodies import decode, read_body
from perdure.adapters.simulator.openai.errors import ApiError, invalid, no_such
from perdure.adapters.simulator.openai.lists import PageQuery, json_response, page_query
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World
from perdure.adapters.simulator.xai.lifecycle import BatchRecord, Outcome, shown, stage
from perdure.adapters.simulator.xai.lines import (
    BadInput,
    Job,
    append_lines,
    check_input,
    read_page,
    write_results,
    written_lines,
)
from perdure.adapters.simulator.xai.wire import AddRequests, BatchList, BatchObject, CreateBatch

BATCHES_A_PAGE: Final = 100
RESULTS_A_PAGE: Final = 1_000
"""The most batches and results of a page, and how many there are unless the client says otherwise. xAI states no
bounds; its clients ask for these (`contracts/providers.md` section 4)."""

_KIND: Final = "xai-batch"
_LONGEST_TOKEN: Final = 16  # digits of a place in a file


class Batches(BatchDesk[BatchRecord]):
    """The batch routes; implements `SimulatedBatches`.

    Args:
        files: those that a batch may be made of and that its requests may name.
        pace_s: how long a batch takes without trouble, in seconds of the simulator's clock.
        arrange: asked once for each batch that is accepted.
    """

    def __init__(self, world: World, files: FileStore, *, pace_s: float, arrange: Arrange) -> None:
        super().__init__(world, _KIND, BatchRecord)
        self._files = files
        self._pace_s = pace_s
        self._arrange = arrange

    def routes(self) -> list[Route]:
        """The routes, below `/xai/v1`."""
        return [
            Route("/batches", self._create, methods=["POST"]),
            Route("/batches", self._list, methods=["GET"]),
            Route("/batches/{id}", self._get, methods=["GET"]),
            Route("/batches/{id}:cancel", self._cancel, methods=["POST"]),
            Route("/batches/{id}/requests", self._add, methods=["POST"]),
            Route("/batches/{id}/results", self._results, methods=["GET"]),
        ]

    def kept(self, tables: Tables) -> set[str]:
        """See `SimulatedBatches`."""
        ids = tables.ids(_KIND, self.world.clock.now())
        return {_input_name(id_) for id_ in ids} | {_results_name(id_) for id_ in ids}

    # ------------------------------------------------------------ making

    async def _create(self, request: Request) -> Response:
        asked = decode(await read_body(request), CreateBatch)
        total = 0
        if asked.input_file_id is not None:
            file = await self._files.read(asked.input_file_id)
            if file is None:
                raise invalid(f"There is no file '{asked.input_file_id}'.", "input_file_id")
            source = self.world.path(file.id)
            try:
                total = await self.world.storage.bulk(lambda: check_input(source))
            except BadInput as error:
                raise invalid(str(error), "input_file_id") from error
        record = await self.world.storage.run(lambda tables: self._accept(tables, asked, total))
        return json_response(shown(record, NOT_YET))

    def _accept(self, tables: Tables, asked: CreateBatch, total: int) -> BatchRecord:
        now = self.world.clock.now()
        id_ = self.world.new_id(tables, "batch_")
        arranged = self._arrange(Plan())
        half_way = now + self._pace_s / 2
        source = self.world.path(_input_name(id_))
        source.unlink(missing_ok=True)
        size_bytes = 0
        if asked.input_file_id is None:
            source.touch()
        else:
            file = self._files.find(tables, asked.input_file_id)
            if file is None:
                raise invalid(f"There is no file '{asked.input_file_id}'.", "input_file_id")
            os.link(self.world.path(file.id), source)
            size_bytes = file.size_bytes
            payload = hashlib.sha256(f"xai\n{file.sha256}".encode()).hexdigest()
            record_purchase(tables, Purchase("xai", "batch", id_, asked.name, total, now, payload))
        record = BatchRecord(
            id=id_,
            name=asked.name,
            made_at=now,
            created_at=now,
            pace_s=self._pace_s,
            sealed=asked.input_file_id is not None,
            total=total,
            size_bytes=size_bytes,
            plan=arranged.plan,
            expire_at=half_way if arranged.expires else None,
            cancel_at=half_way if arranged.cancels else None,
        )
        tables.add(_KIND, id_, json.encode(record), since=now + arranged.unlisted_s)
        return record

    async def _add(self, request: Request) -> Response:
        id_: str = request.path_params["id"]
        asked = decode(await read_body(request), AddRequests)
        try:
            lines = await self.world.storage.bulk(lambda: written_lines(asked.batch_requests))
        except BadInput as error:
            raise invalid(str(error), "batch_requests") from error
        async with self._lock(id_):
            now = self.world.clock.now()
            record = await self._settle(id_, now)
            if record is None:
                raise no_such("batch", id_)
            if record.sealed or stage(record, now).status in TERMINAL or record.cancel_at is not None:
                raise ApiError(400, f"The batch '{id_}' takes no more requests.", param="id")
            source = self.world.path(_input_name(id_))
            size_bytes = await self.world.storage.bulk(lambda: append_lines(source, record.size_bytes, lines))
            added = replace(
                record,
                total=record.total + len(lines),
                size_bytes=size_bytes,
                created_at=now,
                window_s=record.made_at + DAY_S - now,
            )

            def buy(tables: Tables) -> None:
                tables.replace(id_, json.encode(added))
                for n, (request, line) in enumerate(zip(asked.batch_requests, lines, strict=True), record.total):
                    payload = hashlib.sha256(b"xai\n" + line).hexdigest()
                    mark = f"{record.name}/{request.batch_request_id}"
                    record_purchase(tables, Purchase("xai", "batch", f"{id_}/{n}", mark, 1, now, payload))

            await self.world.storage.run(buy)
        return json_response({})

    # ------------------------------------------------------------ looking

    async def _get(self, request: Request) -> Response:
        return json_response(await self._show(request.path_params["id"]))

    async def _list(self, request: Request) -> Response:
        asked = page_query(request, limit=BATCHES_A_PAGE, max_limit=BATCHES_A_PAGE, with_order=False)
        query = PageQuery(request.query_params.get("pagination_token", ""), asked.limit, newest_first=True)
        now = self.world.clock.now()
        page = await self.world.storage.run(lambda tables: query.read(tables, _KIND, now, noun="batch"))
        batches: list[BatchObject] = []
        for doc in page.docs:
            record = self.decode(doc)
            batches.append(await self._show(record.id) if record.outcome is None else shown(record, now))
        more = page.has_more and bool(batches)
        return json_response(BatchList(batches, batches[-1].batch_id if more else None))

    async def _cancel(self, request: Request) -> Response:
        id_: str = request.path_params["id"]
        at = await self.cancel(id_)
        if at is not None and at.status in TERMINAL:
            raise ApiError(400, f"The batch '{id_}' has ended and cannot be cancelled.", param="id")
        return json_response(await self._show(id_))

    async def _results(self, request: Request) -> Response:
        """A page of results, once the batch has ended; before that there are none."""
        id_: str = request.path_params["id"]
        limit = page_query(request, limit=RESULTS_A_PAGE, max_limit=RESULTS_A_PAGE, with_order=False).limit
        token = request.query_params.get("pagination_token", "")
        looked = await self.look(id_)
        if looked is None:
            raise no_such("batch", id_)
        record, _ = looked
        size_bytes = 0 if record.outcome is None else record.outcome.size_bytes
        offset = _offset(token)
        if offset > size_bytes:
            raise invalid(f"'pagination_token' names no page of results: '{token}'.", "pagination_token")
        lines: list[bytes] = []
        place = size_bytes
        if offset < size_bytes:
            results = self.world.path(_results_name(id_))
            lines, place = await self.world.storage.bulk(lambda: read_page(results, offset, limit))
        behind = json.encode(str(place)) if place < size_bytes else b'""' if record.plan.empty_ids else b"null"
        body = b'{"results":[%b],"pagination_token":%b}' % (b",".join(lines), behind)
        return Response(body, media_type="application/json")

    async def _show(self, id_: str) -> BatchObject:
        """The batch as it is now. Raises `ApiError` 404."""
        looked = await self.look(id_)
        if looked is None:
            raise no_such("batch", id_)
        return shown(*looked)

    # ------------------------------------------------------------ doing what is due

    def stage(self, record: BatchRecord, now: float) -> Stage:
        """See `BatchDesk`."""
        return stage(record, now)

    def is_over(self, record: BatchRecord) -> bool:
        """See `BatchDesk`."""
        return record.outcome is not None

    async def check(self, record: BatchRecord) -> BatchRecord:
        """See `BatchDesk`. A file was read when its batch was made."""
        return record

    async def end(self, record: BatchRecord, at: Stage) -> BatchRecord:
        """See `BatchDesk`."""
        failed = at.status == "failed"
        job = Job(
            batch_id=record.id,
            source=self.world.path(_input_name(record.id)),
            results=self.world.path(_results_name(record.id)),
            total=record.total,
            done=record.total if failed else at.done,
            complaint=record.plan.fail if failed else None,
            plan=record.plan,
            seed=self.world.seed,
            at=int(at.since),
            files=await self.world.storage.run(self._files.kept),
        )
        written = await self.world.storage.bulk(lambda: write_results(job))
        ended = replace(record, outcome=Outcome(written.success, written.error, written.cost_ticks, written.size_bytes))
        await self.world.storage.run(lambda tables: tables.replace(record.id, json.encode(ended)))
        await self.world.storage.bulk(lambda: job.source.unlink(missing_ok=True))
        return ended


def _offset(token: str) -> int:
    """The place in the results that a token names. Raises `ApiError` 400."""
    if token and not (token.isdecimal() and len(token) <= _LONGEST_TOKEN):
        raise invalid(f"'pagination_token' names no page of results: '{token}'.", "pagination_token")
    return int(token or 0)


def _input_name(batch_id: str) -> str:
    return f"input-{batch_id}"


def _results_name(batch_id: str) -> str:
    return f"results-{batch_id}"
