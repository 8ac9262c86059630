"""OpenAI's batches: create, get, list, cancel.

A batch holds its input by a link of its own, so that deleting the input file does not pull it away. What is due for it
is done when somebody looks (see `batch_desk.py`).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Set
from typing import Final

from msgspec import Struct, json
from msgspec.structs import replace
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from perdure.adapters.simulator.account import Purchase, record_purchase
from perdure.adapters.simulator.batch_desk import BatchDesk
from perdure.adapters.simulator.batching import NOT_YET, TERMINAL, Arrange, Plan, Stage
from perdure.adapters.simulator.openai.bodies import decode, read_body
from perdure.adapters.simulator.openai.errors import ApiError, invalid, no_such
from perdure.adapters.simulator.openai.files import Files, check_life
from perdure.adapters.simulator.openai.lifecycle import BatchRecord, Outcome, stage, wire
from perdure.adapters.simulator.openai.lines import Job, Written, check_input, write_results
from perdure.adapters.simulator.openai.lists import json_response, list_response, page_query
from perdure.adapters.simulator.openai.uploads import ExpiresAfter
from perdure.adapters.simulator.openai.wire import OTHER_ENDPOINTS, PLAYED_ENDPOINTS, BatchObject
from perdure.adapters.simulator.storage import Tables
from perdure.adapters.simulator.world import World

IDENTITY_KEY: Final = "perdure_identity"
"""The metadata key whose value is a batch's identity on the account."""

MAX_METADATA_PAIRS: Final = 16
MAX_METADATA_KEY: Final = 64
MAX_METADATA_VALUE: Final = 512
"""Bounds of metadata, in pairs and characters (OpenAI's SDK 3.52)."""


class _CreateBatch(Struct, frozen=True, forbid_unknown_fields=True):
    input_file_id: str
    endpoint: str
    completion_window: str
    metadata: dict[str, str] | None = None
    output_expires_after: ExpiresAfter | None = None


class Batches(BatchDesk[BatchRecord]):
    """The batch routes.

    Args:
        pace_s: how long a batch takes without trouble, in seconds of the simulator's clock.
        poll_after_ms: the hint when to ask again, in milliseconds, sent with a batch.
        arrange: asked once for each batch that is accepted.
    """

    def __init__(self, world: World, files: Files, *, pace_s: float, poll_after_ms: int, arrange: Arrange) -> None:
        super().__init__(world, "batch", BatchRecord)
        self._files = files
        self._pace_s = pace_s
        self._hint = {"openai-poll-after-ms": str(poll_after_ms)}
        self._arrange = arrange

    def routes(self) -> list[Route]:
        """The routes, below `/openai/v1`."""
        return [
            Route("/batches", self._create, methods=["POST"]),
            Route("/batches", self._list, methods=["GET"]),
            Route("/batches/{id}", self._get, methods=["GET"]),
            Route("/batches/{id}/cancel", self._cancel, methods=["POST"]),
        ]

    def kept(self, tables: Tables) -> set[str]:
        """See `SimulatedBatches`."""
        return {_input_name(id_) for id_ in tables.ids(self.kind, self.world.clock.now())}

    async def _create(self, request: Request) -> Response:
        asked = decode(await read_body(request), _CreateBatch)
        _check_batch(asked)
        record = await self.world.storage.run(lambda tables: self._accept(tables, asked))
        return json_response(wire(record, NOT_YET), headers=self._hint)

    def _accept(self, tables: Tables, asked: _CreateBatch) -> BatchRecord:
        file = self._files.store.find(tables, asked.input_file_id)
        if file is None:
            raise invalid(f"There is no file '{asked.input_file_id}'.", "input_file_id")
        if file.tag != "batch":
            raise invalid(f"The file's purpose is '{file.tag}', not 'batch'.", "input_file_id")
        now = self.world.clock.now()
        id_ = self.world.new_id(tables, "batch_")
        arranged = self._arrange(Plan())
        half_way = now + self._pace_s / 2
        life_s = None if asked.output_expires_after is None else asked.output_expires_after.seconds
        record = BatchRecord(
            id=id_,
            endpoint=asked.endpoint,
            input_file_id=asked.input_file_id,
            metadata=asked.metadata,
            created_at=now,
            pace_s=self._pace_s,
            output_life_s=life_s,
            plan=arranged.plan,
            expire_at=half_way if arranged.expires else None,
            cancel_at=half_way if arranged.cancels else None,
        )
        source = self.world.path(_input_name(id_))
        source.unlink(missing_ok=True)
        os.link(self.world.path(asked.input_file_id), source)
        tables.add(self.kind, id_, json.encode(record), since=now + arranged.unlisted_s)
        identity = (asked.metadata or {}).get(IDENTITY_KEY) or asked.input_file_id
        payload = hashlib.sha256(f"{asked.endpoint}\n{file.sha256}".encode()).hexdigest()
        record_purchase(tables, Purchase("openai", "batch", id_, identity, file.lines, now, payload))
        return record

    async def _get(self, request: Request) -> Response:
        return json_response(await self._show(request.path_params["id"]), headers=self._hint)

    async def _list(self, request: Request) -> Response:
        query = page_query(request, limit=20, max_limit=100, with_order=False)
        now = self.world.clock.now()
        page = await self.world.storage.run(lambda tables: query.read(tables, self.kind, now, noun="batch"))
        items: list[tuple[str, bytes]] = []
        for doc in page.docs:
            record = self.decode(doc)
            batch = await self._show(record.id) if record.outcome is None else wire(record, now)
            items.append((batch.id, json.encode(batch)))
        return list_response(items, has_more=page.has_more)

    async def _cancel(self, request: Request) -> Response:
        id_: str = request.path_params["id"]
        at = await self.cancel(id_)
        if at is not None and at.status in TERMINAL:
            raise ApiError(409, f"The batch '{id_}' is {at.status} and cannot be cancelled.")
        return json_response(await self._show(id_), headers=self._hint)

    async def _show(self, id_: str) -> BatchObject:
        """The batch as it is now. Raises `ApiError` 404."""
        looked = await self.look(id_)
        if looked is None:
            raise no_such("batch", id_)
        return wire(*looked)

    # ------------------------------------------------------------ doing what is due

    def stage(self, record: BatchRecord, now: float) -> Stage:
        """See `BatchDesk`."""
        return stage(record, now)

    def is_over(self, record: BatchRecord) -> bool:
        """See `BatchDesk`."""
        return record.outcome is not None

    async def check(self, record: BatchRecord) -> BatchRecord:
        """See `BatchDesk`."""
        if record.checked is not None:
            return record
        source = self.world.path(_input_name(record.id))
        checked = await self.world.storage.bulk(lambda: check_input(source, record.endpoint))
        return replace(record, checked=checked)

    async def end(self, record: BatchRecord, at: Stage) -> BatchRecord:
        """See `BatchDesk`."""
        source = self.world.path(_input_name(record.id))
        job = _job(record, at, self.world, await self.world.storage.run(self._files.store.kept))
        written = None if job is None else await self.world.storage.bulk(lambda: write_results(job))

        def commit(tables: Tables) -> BatchRecord:
            ended = replace(record, outcome=self._outcome(tables, record, job, written))
            tables.replace(record.id, json.encode(ended))
            return ended

        ended = await self.world.storage.run(commit)
        await self.world.storage.bulk(lambda: source.unlink(missing_ok=True))
        return ended

    def _outcome(self, tables: Tables, record: BatchRecord, job: Job | None, written: Written | None) -> Outcome:
        if job is None or written is None:
            return Outcome()
        ids: list[str | None] = []
        for noun, part, path in (("output", written.output, job.output), ("error", written.errors, job.errors)):
            if part is None:
                ids.append(None)
                continue
            named = replace(part, filename=f"{record.id}_{noun}.jsonl")
            file = self._files.store.add(
                tables, named, path, tag="batch_output", life_s=record.output_life_s, bought=False
            )
            ids.append(file.id)
        return Outcome(ids[0], ids[1], written.completed, written.failed, written.usage)


def _input_name(batch_id: str) -> str:
    return f"input-{batch_id}"


def _job(record: BatchRecord, at: Stage, world: World, files: Set[str]) -> Job | None:
    """What to write for a batch that ended at `at`; None if nothing of it was ever run."""
    if record.checked is None or at.status not in ("completed", "expired", "cancelled"):
        return None
    return Job(
        batch_id=record.id,
        endpoint=record.endpoint,
        source=world.path(_input_name(record.id)),
        output=world.path(f"receiving-{record.id}-output"),
        errors=world.path(f"receiving-{record.id}-error"),
        total=record.checked.total,
        done=at.done,
        status=at.status,
        plan=record.plan,
        seed=world.seed,
        at=int(at.since),
        files=files,
    )


def _check_batch(asked: _CreateBatch) -> None:
    if asked.endpoint in OTHER_ENDPOINTS:
        raise invalid(
            f"This simulator plays no batches for '{asked.endpoint}', only for {', '.join(PLAYED_ENDPOINTS)}.",
            "endpoint",
            "unsupported_value",
        )
    if asked.endpoint not in PLAYED_ENDPOINTS:
        raise invalid(f"There is no endpoint '{asked.endpoint}' for batches.", "endpoint")
    if asked.completion_window != "24h":
        raise invalid(f"'completion_window' must be '24h', not '{asked.completion_window}'.", "completion_window")
    pairs = asked.metadata or {}
    if len(pairs) > MAX_METADATA_PAIRS:
        raise invalid(f"'metadata' may have {MAX_METADATA_PAIRS} pairs, not {len(pairs)}.", "metadata")
    for key, value in pairs.items():
        if len(key) > MAX_METADATA_KEY or len(value) > MAX_METADATA_VALUE:
            raise invalid(
                f"A key of 'metadata' may have {MAX_METADATA_KEY} characters and a value {MAX_METADATA_VALUE}.",
                "metadata",
            )
    if asked.output_expires_after is not None:
        check_life(asked.output_expires_after.seconds, "output_expires_after.seconds")
