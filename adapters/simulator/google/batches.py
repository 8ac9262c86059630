"""Google's batches: create, get, list, cancel, delete.

A batch holds its requests by a file of its own, whether they came in the call or in a file that may be deleted
meanwhile. Responses to requests that came in the call stand in the operation itself, those to a file's in a file.

Sources: `contracts/providers.md` section 3.2.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from msgspec import json
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.account import Purchase, record_purchase
from perdure.adapters.simulator.batch_desk import BatchDesk
from perdure.adapters.simulator.batching import NOT_YET, Arrange, Plan, Stage
from perdure.adapters.simulator.google.app import check_version
from perdure.adapters.simulator.google.bodies import read_body
from perdure.adapters.simulator.google.errors import ApiError, no_such_model
from perdure.adapters.simulator.google.files import json_response
from perdure.adapters.simulator.google.filestore import NAME_PREFIX, GoogleFiles
from perdure.adapters.simulator.google.lifecycle import OUTPUT_HERE, WINDOW_S, BatchRecord, Outcome, operation, stage
from perdure.adapters.simulator.google.lines import (
    Asked,
    Job,
    Written,
    check_input,
    read_call,
    write_input,
    write_results,
)
from perdure.adapters.simulator.google.lists import page_query, token_behind
from perdure.adapters.simulator.google.pieces import Pieces, Stored
from perdure.adapters.simulator.speech import NO_MODEL
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World

MAX_CALL_BYTES: Final = 20_000_000
"""How much a call for a batch may hold, requests and all: 20 MB (`contracts/providers.md` section 3.2)."""

_PREFIX: Final = "batches/"
_MARK: Final = json.encode(OUTPUT_HERE)


class Batches(BatchDesk[BatchRecord]):
    """The batch routes.

    Args:
        files: those that a batch may be made of, and where responses to a file are put.
        pace_s: how long a batch takes without trouble, in seconds of the simulator's clock.
        arrange: asked once for each batch that is accepted.
    """

    def __init__(self, world: World, files: GoogleFiles, *, pace_s: float, arrange: Arrange) -> None:
        super().__init__(world, "google-batch", BatchRecord)
        self._files = files
        self._pace_s = pace_s
        self._arrange = arrange

    def routes(self) -> list[Route]:
        """The routes, below `/google`."""
        return [
            Route("/{version}/models/{model}:batchGenerateContent", self._create, methods=["POST"]),
            Route("/{version}/batches", self._list, methods=["GET"]),
            Route("/{version}/batches/{id}:cancel", self._cancel, methods=["POST"]),
            Route("/{version}/batches/{id}", self._get, methods=["GET"]),
            Route("/{version}/batches/{id}", self._delete, methods=["DELETE"]),
        ]

    def kept(self, tables: Tables) -> set[str]:
        """See `SimulatedBatches`."""
        ids = tables.ids(self.kind, self.world.clock.now())
        return {name for id_ in ids for name in (_input_name(id_), _output_name(id_))}

    # ------------------------------------------------------------ the routes

    async def _create(self, request: Request) -> Response:
        version = check_version(request)
        model: str = request.path_params["model"]
        if model == NO_MODEL:
            raise no_such_model(model, version)
        body = await read_body(request, max_bytes=MAX_CALL_BYTES)
        asked = await self.world.storage.bulk(lambda: read_call(body))
        with self.world.receiving() as path:
            sha256 = "" if asked.file else await self.world.storage.bulk(lambda: write_input(asked.requests, path))
            record = await self.world.storage.run(lambda tables: self._accept(tables, asked, model, path, sha256))
        return json_response(operation(record, version, NOT_YET))

    def _accept(self, tables: Tables, asked: Asked, model: str, path: Path, sha256: str) -> BatchRecord:
        now = self.world.clock.now()
        file = self._files.find_active(tables, asked.file) if asked.file else None
        id_ = self.world.new_id(tables, _PREFIX)
        arranged = self._arrange(Plan())
        half_way = now + self._pace_s / 2
        record = BatchRecord(
            id=id_,
            created_at=now,
            pace_s=self._pace_s,
            window_s=WINDOW_S,
            plan=arranged.plan,
            expire_at=half_way if arranged.expires else None,
            cancel_at=half_way if arranged.cancels else None,
            model=model,
            display_name=asked.display_name,
            is_inline=file is None,
            total=len(asked.requests),
            is_checked=file is None,
        )
        source = self.world.path(_input_name(id_))
        if file is None:
            os.replace(path, source)
        else:
            source.unlink(missing_ok=True)
            os.link(self.world.path(file.id), source)
        tables.add(self.kind, id_, json.encode(record), since=now + arranged.unlisted_s)
        identity = asked.display_name or asked.file
        payload = hashlib.sha256(f"models/{model}\n{file.sha256 if file else sha256}".encode()).hexdigest()
        units = file.lines if file else len(asked.requests)
        record_purchase(tables, Purchase("google", "batch", id_, identity, units, now, payload))
        return record

    async def _get(self, request: Request) -> Response:
        version, id_ = check_version(request), _id_of(request)
        looked = await self.look(id_)
        if looked is None:
            raise _no_such_batch(id_)
        record, now = looked
        return Pieces(self._shown(record, version, now), self.world.storage)

    async def _list(self, request: Request) -> Response:
        version, query, now = check_version(request), page_query(request), self.world.clock.now()
        page = await self.world.storage.run(lambda tables: query.read(tables, self.kind, now))
        pieces: list[bytes | Stored] = []
        last = ""
        for doc in page.docs:
            looked = await self.look(self.decode(doc).id)
            if looked is None:
                continue  # deleted since
            pieces += [b"," if pieces else b'{"operations":[', *self._shown(looked[0], version, looked[1])]
            last = looked[0].id
        if not pieces:
            return json_response({})
        following = b',"nextPageToken":' + json.encode(token_behind(last)) if page.has_more else b""
        return Pieces([*pieces, b"]", following, b"}"], self.world.storage)

    async def _cancel(self, request: Request) -> Response:
        check_version(request)
        id_ = _id_of(request)
        if await self.cancel(id_) is None:
            raise _no_such_batch(id_)
        return json_response({})

    async def _delete(self, request: Request) -> Response:
        check_version(request)
        id_ = _id_of(request)

        def delete(tables: Tables) -> bool:
            if tables.get(self.kind, id_, self.world.clock.now()) is None:
                return False
            tables.remove(id_)
            return True

        if not await self.world.storage.run(delete):
            raise _no_such_batch(id_)
        await self.world.storage.bulk(lambda: self._remove_bytes(id_))
        return json_response({})

    def _remove_bytes(self, id_: str) -> None:
        for name in (_input_name(id_), _output_name(id_)):
            self.world.path(name).unlink(missing_ok=True)

    def _shown(self, record: BatchRecord, version: str, now: float) -> list[bytes | Stored]:
        """The operation, as pieces of an answer."""
        whole = json.encode(operation(record, version, now))
        size_bytes = 0 if record.outcome is None else record.outcome.inlined_bytes
        pieces: list[bytes | Stored] = []
        for place, between in enumerate(whole.split(_MARK)):
            if place:
                pieces.append(Stored(self.world.path(_output_name(record.id)), size_bytes))
            pieces.append(between)
        return pieces

    # ------------------------------------------------------------ doing what is due

    def stage(self, record: BatchRecord, now: float) -> Stage:
        """See `BatchDesk`."""
        return stage(record, now)

    def is_over(self, record: BatchRecord) -> bool:
        """See `BatchDesk`."""
        return record.outcome is not None

    async def check(self, record: BatchRecord) -> BatchRecord:
        """See `BatchDesk`."""
        if record.is_checked:
            return record
        source = self.world.path(_input_name(record.id))
        checked = await self.world.storage.bulk(lambda: check_input(source))
        return replace(record, is_checked=True, total=checked.total, complaint=checked.complaint)

    async def end(self, record: BatchRecord, at: Stage) -> BatchRecord:
        """See `BatchDesk`."""
        source, output = self.world.path(_input_name(record.id)), self.world.path(f"receiving-{_bare(record.id)}")
        job = Job(
            batch_id=record.id,
            model=record.model,
            source=source,
            output=output,
            is_inline=record.is_inline,
            total=record.total,
            done=at.done,
            plan=record.plan,
            seed=self.world.seed,
            check_file=self._check_file,
        )
        written = None if at.status == "failed" else await self.world.storage.bulk(lambda: write_results(job))

        def commit(tables: Tables) -> BatchRecord:
            ended = replace(record, outcome=self._outcome(tables, record, output, written))
            tables.replace(record.id, json.encode(ended))
            return ended

        ended = await self.world.storage.run(commit)
        await self.world.storage.bulk(lambda: source.unlink(missing_ok=True))
        return ended

    def _outcome(self, tables: Tables, record: BatchRecord, output: Path, written: Written | None) -> Outcome:
        if written is None:
            return Outcome()
        outcome = Outcome(written.successful, written.failed)
        if written.output is None:
            return outcome
        if record.is_inline:
            os.replace(output, self.world.path(_output_name(record.id)))
            return replace(outcome, inlined_bytes=written.output.size_bytes)
        name = f"{NAME_PREFIX}batch-{_bare(record.id)}"
        self._files.generate(tables, written.output, output, name=name, mime_type="application/jsonl")
        return replace(outcome, responses_file=name)

    def _check_file(self, uri: str) -> None:
        """Raises `ApiError` for a file that cannot be used. For the thread that writes results."""
        with self.world.storage.transaction() as tables:
            self._files.find_active(tables, uri)


def _id_of(request: Request) -> str:
    return _PREFIX + str(request.path_params["id"])


def _bare(id_: str) -> str:
    return id_.removeprefix(_PREFIX)


def _input_name(id_: str) -> str:
    return f"google-input-{_bare(id_)}"


def _output_name(id_: str) -> str:
    return f"google-output-{_bare(id_)}"


def _no_such_batch(id_: str) -> ApiError:
    return ApiError(404, f"Requested entity was not found: {id_}.")
