"""Streamed answers, and whole ones whose bodies stall or are cut. In memory, on a jumping clock."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import trio
from trio.testing import MockClock

from perdure.actors.fetch import HttpRequest, Refused, Unknown
from perdure.adapters.network import Endpoint, Engine, EngineSettings, PooledTransport, QueueSettings, RetryOverride
from tests.adapters.network.peer import LANE, Raw, Reply, fault, memory_rig

pytestmark = pytest.mark.trio

GET = HttpRequest(method="GET", path="/content", safety="read", idle_s=10, deadline_s=100)
_HEAD = b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n"
_CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n"


async def read(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


async def test_stream_hands_out_chunks_and_keeps_its_slot(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The slot is held until the block is left; a body that was read to its end leaves the connection open."""
    rig = await memory_rig(nursery, [Reply(body=[b"ab", b"cd"])], queue=QueueSettings(concurrency=1))
    async with rig.engine.bind(LANE).stream(GET) as stream:
        assert (stream.status, stream.headers["transfer-encoding"]) == (200, "chunked")
        assert await read(stream.chunks()) == b"abcd"
        assert rig.engine.snapshot()[0].in_flight == 1
    assert rig.engine.snapshot()[0].in_flight == 0
    await rig.engine.bind(LANE)(GET)
    assert rig.peer.connections == 1


async def test_stream_retries_before_it_opens(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A refusal that may pass is retried until the answer's headers are there."""
    rig = await memory_rig(nursery, [fault(503, "busy"), Reply(body=b"xyz")])
    async with rig.engine.bind(LANE).stream(GET) as stream:
        assert await read(stream.chunks()) == b"xyz"


async def test_stream_that_is_refused_frees_its_slot(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A refusal comes out of entering the block."""
    rig = await memory_rig(nursery, [fault(404, "gone")])
    with pytest.raises(Refused):
        async with rig.engine.bind(LANE).stream(GET):
            raise AssertionError
    assert rig.engine.snapshot()[0].in_flight == 0


@pytest.mark.parametrize(
    "cut", [_HEAD + b"12345", _CHUNKED, _CHUNKED + b"5\r\nab"], ids=["length", "chunk", "in chunk"]
)
async def test_stream_cut_is_unknown(autojump_clock: MockClock, nursery: trio.Nursery, cut: bytes) -> None:
    """A body that ends before its length or its last chunk is `Unknown`, after the bytes that came."""
    rig = await memory_rig(nursery, [Raw(cut)])
    async with rig.engine.bind(LANE).stream(GET) as stream:
        chunks = stream.chunks()
        assert await anext(chunks) != b""
        with pytest.raises(Unknown, match="cut"):
            await read(chunks)


async def test_w63_stalled_stream_ends_after_idle_s(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A body that falls silent for `idle_s` is `Unknown`; the reader's own time does not count."""
    rig = await memory_rig(nursery, [Raw(_HEAD + b"12345", "hang")])
    async with rig.engine.bind(LANE).stream(GET) as stream:
        chunks = stream.chunks()
        await trio.sleep(30)  # the reader is busy: not the peer's silence
        assert await anext(chunks) == b"12345"
        start = trio.current_time()
        with pytest.raises(Unknown, match="silent for 10 s"):
            await anext(chunks)
        assert trio.current_time() - start == pytest.approx(10)


async def test_w63_stalled_body_frees_its_slot(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A whole answer whose body stalls ends after `idle_s`, not at the headers and not never; its slot is free."""
    rig = await memory_rig(nursery, [Raw(_HEAD + b"12345", "hang")])
    start = trio.current_time()
    with pytest.raises(Unknown, match="silent for 10 s"):
        await rig.engine.bind(LANE, retry=RetryOverride(max_retries=0))(GET)
    assert trio.current_time() - start == pytest.approx(10)
    assert rig.engine.snapshot()[0].in_flight == 0


class Trickle(trio.abc.Stream):
    """A peer that gives headers, then one byte in 5 seconds."""

    def __init__(self) -> None:
        self._next = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.sleep(5)
        data, self._next = self._next, b"x"
        return data

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


async def test_w63_deadline_covers_a_trickling_body(autojump_clock: MockClock) -> None:
    """A body that trickles, never silent for long, still ends at the call's deadline."""

    async def connect(host: str, port: int) -> trio.abc.Stream:
        await trio.lowlevel.checkpoint()
        return Trickle()

    engine = Engine(lambda lane: Endpoint(base_url="http://p"), transport=PooledTransport(connect=connect))
    start = trio.current_time()
    with pytest.raises(Unknown, match="deadline of 100 s"):
        await engine.bind(LANE)(GET)
    assert trio.current_time() - start == pytest.approx(100)


async def test_stream_past_its_deadline(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The deadline of a streamed call bounds its reads too."""
    rig = await memory_rig(nursery, [Raw(_HEAD + b"12345", "hang")])
    request = HttpRequest(method="GET", path="/", safety="read", idle_s=50, deadline_s=20)
    async with rig.engine.bind(LANE).stream(request) as stream:
        chunks = stream.chunks()
        assert await anext(chunks) == b"12345"
        with pytest.raises(Unknown, match="deadline"):
            await anext(chunks)
    assert trio.current_time() - rig.peer.seen[0].at == pytest.approx(20)


async def test_answer_too_large_for_memory_is_final(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """An answer above the bound is not held and not asked for again; streamed, it comes."""
    rig = await memory_rig(nursery, [Reply(body=b"x" * 2000)], settings=EngineSettings(max_answer_bytes=1000))
    with pytest.raises(Unknown, match="stream it instead"):
        await rig.engine.bind(LANE)(GET)
    assert len(rig.peer.seen) == 1
    async with rig.engine.bind(LANE).stream(GET) as stream:
        assert len(await read(stream.chunks())) == 2000
