"""The adapter against the simulator, over the network engine and real sockets."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from random import Random

import pytest
import trio
from msgspec import Struct

from perdure.actors.batch.ports import OutputLine, ProviderBatch
from perdure.actors.fetch import Fetch, Refused, Unknown
from perdure.actors.lane import Lane
from perdure.actors.remote_files import RemoteFile
from perdure.adapters.network import Endpoint, Engine
from perdure.adapters.openai import OpenAIBatches, OpenAIRemoteFiles, authorize
from perdure.adapters.simulator import OPENAI_PREFIX, Clock, Simulator, faults
from perdure.events.requests import Answer, LineError
from tests.adapters.openai.fake import chunks_of
from tests.adapters.parts import lines_file, over, sought
from tests.adapters.simulator.bench import assert_keeps_no_key
from tests.secrets import unique_key, wrong_key

BATCHES, FILES = OpenAIBatches(), OpenAIRemoteFiles()
BATCH_S = 100.0
LANE = Lane("", "openai", "default", "batch")


class Rig(Struct):
    """A simulator whose batches take `BATCH_S` of a clock that only tests move, and a way to it."""

    simulator: Simulator
    fetch: Fetch

    async def upload(self, data: bytes, filename: str = "in.jsonl") -> RemoteFile:
        """Stores an input file."""
        return await FILES.upload(self.fetch, lines_file(chunks_of(data, 4_096), len(data), filename))

    async def submit(self, data: bytes, *, identity: str = "i-1", endpoint: str = "/v1/responses") -> ProviderBatch:
        """Stores an input file and buys the batch over it."""
        stored = await self.upload(data)
        return await BATCHES.create(self.fetch, over(stored.id), endpoint=endpoint, identity=identity)

    async def end(self, batch_id: str) -> ProviderBatch:
        """The batch once it has ended."""
        self.simulator.clock.advance(2 * BATCH_S)
        return await BATCHES.status(self.fetch, batch_id)

    async def lines(self, sources: Sequence[str]) -> list[OutputLine | None]:
        """What all result files say."""
        found: list[OutputLine | None] = []
        for source in sources:
            async with BATCHES.results(self.fetch, source, skip_bytes=0) as runs:
                found.extend([BATCHES.parse_line(line) async for run in runs for line in run])
        return found


@asynccontextmanager
async def rig(*, key: str | None = None) -> AsyncGenerator[Rig]:
    """A rig; the test ends after a minute in any case."""
    start = 1_795_190_000.0
    clock = Clock(lambda: start)
    with trio.fail_after(60), Simulator(batch_s=BATCH_S, clock=clock) as simulator:
        async with trio.open_nursery() as nursery:
            bound = await nursery.start(simulator.serve)
            endpoint = Endpoint(base_url=bound.url + OPENAI_PREFIX, headers=authorize(key or unique_key()))
            engine = Engine(lambda lane: endpoint, random=Random(7))
            await nursery.start(engine.run)
            yield Rig(simulator, engine.bind(LANE))
            nursery.cancel_scope.cancel()
        assert_keeps_no_key(simulator)


def input_lines(count: int, endpoint: str = "/v1/responses", *, model: str = "m") -> bytes:
    """An input file of this many lines."""
    bodies: dict[str, dict[str, object]] = {
        "/v1/responses": {"input": "Name a fjord."},
        "/v1/chat/completions": {"messages": [{"role": "user", "content": "Name a fjord."}]},
        "/v1/embeddings": {"input": "fjord", "dimensions": 4},
    }
    body = json.dumps({"model": model, **bodies[endpoint]}, indent=1).encode()
    return b"".join(BATCHES.encode_line(f"b-{n}", endpoint, body) for n in range(count))


def ids(lines: Sequence[OutputLine | None]) -> list[str]:
    """The line ids, sorted by number."""
    return sorted((line.line_id for line in lines if line is not None), key=lambda id_: int(id_.rpartition("-")[2]))


def answers(lines: Sequence[OutputLine | None], endpoint: str = "/v1/responses") -> dict[str, Answer | LineError]:
    """What the lines say, by id."""
    return {line.line_id: BATCHES.answer(endpoint, line.raw) for line in lines if line is not None}


@pytest.mark.trio
@pytest.mark.parametrize(
    ("endpoint", "spoken"),
    [("/v1/responses", True), ("/v1/chat/completions", True), ("/v1/embeddings", False)],
)
async def test_b34_a_batch_from_file_to_answers(endpoint: str, spoken: bool) -> None:
    async with rig() as it:
        batch = await it.submit(input_lines(20, endpoint), endpoint=endpoint)
        assert (batch.status, batch.identity) == ("pending", "i-1")
        assert batch.poll_after_s == pytest.approx(10.0)
        it.simulator.clock.advance(BATCH_S / 2)
        assert (await BATCHES.status(it.fetch, batch.id)).status == "processing"
        ended = await it.end(batch.id)
        assert (ended.status, ended.total, ended.completed, ended.failed) == ("completed", 20, 20, 0)
        lines = await it.lines(ended.sources)
        assert ids(lines) == [f"b-{n}" for n in range(20)]
        for answer in answers(lines, endpoint).values():
            assert isinstance(answer, Answer)
            assert bool(answer.text) is spoken
            assert answer.model == "m"
            assert answer.usage is not None
            assert answer.usage.input_tokens


@pytest.mark.trio
@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (faults.ExpireNow(done=0.5), "expired", "batch_expired"),
        (faults.Cancelled(done=0.5), "cancelled", "batch_cancelled"),
    ],
    ids=["expired", "cancelled"],
)
async def test_b34_partial_output_of_a_batch_that_ended_early(
    fault: faults.ExpireNow | faults.Cancelled, status: str, code: str
) -> None:
    async with rig() as it:
        it.simulator.faults.arm(fault)
        ended = await it.end((await it.submit(input_lines(10))).id)
        assert ended.status == status
        assert len(ended.sources) == 2
        said = answers(await it.lines(ended.sources))
        assert len(said) == 10
        paid = [id_ for id_, answer in said.items() if isinstance(answer, Answer)]
        assert paid
        assert len(paid) < 10
        assert {answer.code for answer in said.values() if isinstance(answer, LineError)} == {code}


@pytest.mark.trio
async def test_b34_w9_failed_with_the_lines_that_are_wrong() -> None:
    async with rig() as it:
        data = input_lines(2) + b"{broken\n" + input_lines(1)
        ended = await it.end((await it.submit(data)).id)
        assert (ended.status, list(ended.sources)) == ("failed", [])
        assert [(problem.code, problem.line) for problem in ended.problems] == [
            ("invalid_json_line", 3),
            ("duplicate_custom_id", 4),
        ]
        assert all(problem.message for problem in ended.problems)


@pytest.mark.trio
async def test_b34_w9_failed_as_a_whole() -> None:
    async with rig() as it:
        it.simulator.faults.arm(faults.FailValidation(code="token_limit_exceeded", message="Too much."))
        ended = await it.end((await it.submit(input_lines(2))).id)
        assert ended.status == "failed"
        assert [(problem.code, problem.message, problem.line) for problem in ended.problems] == [
            ("token_limit_exceeded", "Too much.", None)
        ]


@pytest.mark.trio
@pytest.mark.parametrize("empty", [False, True], ids=["null", "empty text"])
async def test_w8_every_line_in_the_error_file(empty: bool) -> None:
    async with rig() as it:
        it.simulator.faults.arm(faults.OnlyErrorFile(), *([faults.EmptyIds()] if empty else []))
        ended = await it.end((await it.submit(input_lines(5))).id)
        assert (ended.status, ended.failed, len(ended.sources)) == ("completed", 5, 1)
        said = answers(await it.lines(ended.sources))
        assert len(said) == 5
        assert {(answer.code, answer.status) for answer in said.values() if isinstance(answer, LineError)} == {
            ("server_error", 500)
        }


@pytest.mark.trio
@pytest.mark.parametrize("empty", [False, True], ids=["null", "empty text"])
async def test_b34_w8_completed_without_any_file(empty: bool) -> None:
    async with rig() as it:
        it.simulator.faults.arm(faults.CompletedWithoutFile(), *([faults.EmptyIds()] if empty else []))
        ended = await it.end((await it.submit(input_lines(5))).id)
        assert (ended.status, list(ended.sources)) == ("completed", [])


@pytest.mark.trio
async def test_b34_lines_that_fail_beside_lines_that_do_not() -> None:
    async with rig() as it:
        it.simulator.faults.arm(faults.FailLines(lines=3, status=429), faults.Shuffled())
        ended = await it.end((await it.submit(input_lines(10))).id)
        lines = await it.lines(ended.sources)
        assert ids(lines) == [f"b-{n}" for n in range(10)]
        assert [line.ok for line in lines if line is not None] == [True] * 7 + [False] * 3, "output first, then errors"


@pytest.mark.trio
async def test_b34_a_model_that_does_not_exist_fails_its_lines() -> None:
    async with rig() as it:
        ended = await it.end((await it.submit(input_lines(2, model="nope"))).id)
        said = answers(await it.lines(ended.sources))
        assert {answer.code for answer in said.values() if isinstance(answer, LineError)} == {"model_not_found"}
        assert len(said) == 2


@pytest.mark.trio
async def test_w25_garbled_lines_hurt_no_other_line() -> None:
    async with rig() as it:
        it.simulator.faults.arm(faults.Garbled(lines=2))
        ended = await it.end((await it.submit(input_lines(10))).id)
        lines = await it.lines(ended.sources)
        assert len(lines) == 10
        assert lines.count(None) == 2
        assert all(line.ok for line in lines if line is not None)


# ---------------------------------------------------------------- bought once


@pytest.mark.trio
@pytest.mark.parametrize(
    "fault",
    [
        faults.ActThenDrop(route="POST /openai/v1/batches"),
        faults.WrongContentType(route="POST /openai/v1/batches"),
        faults.WrongContentType(route="POST /openai/v1/batches", content_type="application/json", body="{"),
        faults.Truncate(route="POST /openai/v1/batches", after_bytes=20),
        faults.Truncate(route="POST /openai/v1/batches", after_bytes=20, clean=True),
        faults.AnswerStatus(route="POST /openai/v1/batches", status=502, act=True),
    ],
    ids=["dropped", "wrong type", "no JSON", "cut", "cut unseen", "bad gateway"],
)
async def test_w4_w23_a_lost_answer_is_unknown_and_the_batch_is_found_again(
    fault: faults.ActThenDrop | faults.WrongContentType | faults.Truncate | faults.AnswerStatus,
) -> None:
    async with rig() as it:
        stored = await it.upload(input_lines(2))
        it.simulator.faults.arm(fault)
        since = int(it.simulator.clock.now() * 1_000_000)
        with pytest.raises(Unknown):
            await BATCHES.create(it.fetch, over(stored.id), endpoint="/v1/responses", identity="i-1")
        (found,) = await BATCHES.find(it.fetch, sought("i-1", since))
        assert found.identity == "i-1"
        assert [bought.identity for bought in it.simulator.account.purchases(kind="batch")] == ["i-1"]


@pytest.mark.trio
async def test_w4_w23_a_lost_upload_is_unknown_and_the_file_is_found_again() -> None:
    async with rig() as it:
        it.simulator.faults.arm(faults.ActThenDrop(route="POST /openai/v1/files"))
        since = int(it.simulator.clock.now() * 1_000_000)
        data = input_lines(2)
        with pytest.raises(Unknown):
            await it.upload(data, "pfile_1.jsonl")
        (found,) = await FILES.find(it.fetch, filename="pfile_1.jsonl", size_bytes=len(data), since=since)
        assert (found.filename, found.size_bytes) == ("pfile_1.jsonl", len(data))
        assert len(it.simulator.account.purchases(kind="file")) == 1


@pytest.mark.trio
async def test_w4_find_pages_past_many_newer_batches() -> None:
    async with rig() as it:
        stored = await it.upload(input_lines(1))
        since = int(it.simulator.clock.now() * 1_000_000)
        for n in range(251):
            await BATCHES.create(it.fetch, over(stored.id), endpoint="/v1/responses", identity=f"i-{n}")
        (found,) = await BATCHES.find(it.fetch, sought("i-0", since))
        assert found.identity == "i-0"
        assert list(await BATCHES.find(it.fetch, sought("i-251", since))) == []


@pytest.mark.trio
async def test_a_name_with_quotes_comes_back_as_it_was() -> None:
    async with rig() as it:
        stored = await it.upload(b"{}\n", "fjærland (1).jsonl")
        assert stored.filename == "fjærland (1).jsonl"


# ---------------------------------------------------------------- reading results


@pytest.mark.trio
@pytest.mark.parametrize(
    "fault",
    [
        faults.Truncate(route="GET /openai/v1/files/*/content", after_bytes=5_000, count=2),
        faults.Truncate(route="GET /openai/v1/files/*/content", after_bytes=5_000, clean=True, count=2),
    ],
    ids=["cut", "cut unseen"],
)
async def test_w22_a_cut_result_file_is_read_on_from_the_last_line(fault: faults.Truncate) -> None:
    async with rig() as it:
        ended = await it.end((await it.submit(input_lines(50))).id)
        (source,) = ended.sources
        it.simulator.faults.arm(fault)
        cursor, seen, cuts = 0, list[bytes](), 0

        async def read_on() -> None:
            nonlocal cursor
            async with BATCHES.results(it.fetch, source, skip_bytes=cursor) as runs:
                async for run in runs:
                    seen.extend(run)
                    cursor += sum(len(line) + 1 for line in run)

        for _ in range(3):
            try:
                await read_on()
            except Unknown:
                cuts += 1
        assert cuts == 2
        assert ids([BATCHES.parse_line(line) for line in seen]) == [f"b-{n}" for n in range(50)]
        assert len(seen) == 50
        await read_on()
        assert len(seen) == 50, "nothing is left behind the end"


@pytest.mark.trio
async def test_a_web_page_in_a_result_files_place_is_worth_a_repeat() -> None:
    async with rig() as it:
        ended = await it.end((await it.submit(input_lines(2))).id)
        it.simulator.faults.arm(faults.WrongContentType(route="GET /openai/v1/files/*/content", body="<html>"))
        with pytest.raises(Refused) as caught:
            await it.lines(ended.sources)
        assert caught.value.retryable
        assert len(await it.lines(ended.sources)) == 2


# ---------------------------------------------------------------- refusals


@pytest.mark.trio
async def test_w70_cancel_and_cancel_again() -> None:
    async with rig() as it:
        batch = await it.submit(input_lines(4))
        it.simulator.clock.advance(BATCH_S / 2)
        await BATCHES.cancel(it.fetch, batch.id)
        await BATCHES.cancel(it.fetch, batch.id)
        ended = await it.end(batch.id)
        assert ended.status == "cancelled"
        await BATCHES.cancel(it.fetch, batch.id)
        assert len(answers(await it.lines(ended.sources))) == 4


@pytest.mark.trio
async def test_w70_cancelling_a_completed_batch_is_no_error() -> None:
    async with rig() as it:
        ended = await it.end((await it.submit(input_lines(1))).id)
        await BATCHES.cancel(it.fetch, ended.id)
        assert (await BATCHES.status(it.fetch, ended.id)).status == "completed"


@pytest.mark.trio
async def test_a_key_that_is_refused() -> None:
    async with rig(key=wrong_key()) as it:
        with pytest.raises(Refused) as caught:
            await it.upload(b"{}\n")
        assert (caught.value.kind, caught.value.status) == ("auth", 401)


@pytest.mark.trio
async def test_a_batch_that_does_not_exist() -> None:
    async with rig() as it:
        with pytest.raises(Refused) as caught:
            await BATCHES.status(it.fetch, "batch_none")
        assert caught.value.kind == "not_found"
